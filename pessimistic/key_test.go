package pessimistic_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/pessimistic"
)

func TestKeysDiffer(t *testing.T) {
	keys := [][]any{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a1:b", ""}, {"a", "b", ""}, {1, 11}, {11, 1}, {1, "1"}, {"1", 1}, {1.5, 1},
		{true, 1}, {1, 1}, {unknown{}, 1}}
	seen := map[string][]any{}
	for _, key := range keys {
		text := pessimistic.Key(key...)
		require.NotContains(t, seen, text, "%v", key)
		seen[text] = key
	}
	require.Equal(t, pessimistic.Key([]byte("a"), 1), pessimistic.Key("a", int8(1)))
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	require.Equal(t, pessimistic.Key(noon), pessimistic.Key(noon.In(time.FixedZone("", 3600))))
}

// unknown is a type that only a driver could know.
type unknown struct{}

func TestKeyOrder(t *testing.T) {
	inOrder := [][]any{
		{math.MinInt64, -5, int8(-1), 0, uint8(3), 10, uint64(math.MaxInt64), uint64(math.MaxInt64) + 1, uint64(math.MaxUint64)},
		{"", "A", "a", "ab", "b"},
		{-1.5, 0.0, 1e300},
		{time.Unix(1, 0), time.Unix(1, 1), time.Unix(2, 0)},
		{false, true},
	}
	for _, keys := range inOrder {
		for i, a := range keys {
			for j, b := range keys {
				require.Equal(t, i-j < 0, pessimistic.CompareKeys(a, b) < 0, "%v %v", a, b)
				require.Equal(t, i == j, pessimistic.CompareKeys(a, b) == 0, "%v %v", a, b)
			}
		}
	}
}
