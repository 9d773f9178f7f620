package rowkey_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/rowkey"
)

func TestValues(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7000, time.FixedZone("", 5400))
	key := []any{int64(-1), int64(math.MaxInt64), uint64(math.MaxUint64), 1.5, -2.25, true, false, "a\x00\xffb\x00", "", []byte("\x00\xff"), nil, "z"}
	text, exact := rowkey.Text(key)
	require.True(t, exact)
	values, ok := rowkey.Values(text)
	require.True(t, ok)
	require.Equal(t, key, values)

	text, _ = rowkey.Text([]any{at, 1})
	values, ok = rowkey.Values(text)
	require.True(t, ok)
	require.True(t, at.Equal(values[0].(time.Time)))
	again, _ := rowkey.Text(values)
	require.Equal(t, text, again)

	text, exact = rowkey.Text([]any{[16]byte{1}})
	require.False(t, exact)
	_, ok = rowkey.Values(text)
	require.False(t, ok)
}

func FuzzValues(f *testing.F) {
	f.Add("a\x00", "b", int64(-7))
	f.Add("\x00\xff", "", int64(0))
	f.Fuzz(func(t *testing.T, a, b string, n int64) {
		text, _ := rowkey.Text([]any{a, n, []byte(b)})
		values, ok := rowkey.Values(text)
		require.True(t, ok)
		require.Equal(t, []any{a, n, []byte(b)}, values)
		rowkey.Values(a) // any text
	})
}
