package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// No payment is charged twice, and none is lost. The program makes 1,000; these take less time.
func TestPayments(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, 300, true), &out)
	require.Contains(t, out.String(), "pending 0\n")
	require.Contains(t, out.String(), "charged twice 0, charged and not paid 0, paid and not charged 0, told otherwise 0\n")
}

// With a new key for each try the same check finds what is wrong.
func TestWithoutKeys(t *testing.T) {
	var out strings.Builder
	require.ErrorIs(t, run(t.Context(), &out, 50, false), errWrong, &out)
	require.NotContains(t, out.String(), "charged twice 0,")
}
