package idempotency

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// The last keys are known, and there is a bound to how many.
func TestRecent(t *testing.T) {
	var r recent
	at := func(i int) place { return place{"table", "scope", strconv.Itoa(i)} }
	require.False(t, r.has(at(0)))
	for i := range 3 * maxRecent {
		r.add(at(i))
	}
	for i := 2 * maxRecent; i < 3*maxRecent; i++ {
		require.True(t, r.has(at(i)))
	}
	require.False(t, r.has(at(0)))
	require.LessOrEqual(t, len(r.new)+len(r.before), 2*maxRecent)
}
