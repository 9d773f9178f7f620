package rowkey_test

import (
	"database/sql"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/rowkey"
)

type id int64

func TestSameRow(t *testing.T) {
	now := time.Now()
	rows := [][][]any{ // the keys within a line are one row's, those of different lines are not
		{{1}, {int64(1)}, {uint8(1)}, {id(1)}, {sql.NullInt64{Int64: 1, Valid: true}}},
		{{-1}},
		{{uint64(math.MaxUint64)}},
		{{1.0}},
		{{"1"}, {sql.NullString{String: "1", Valid: true}}},
		{{[]byte("1")}},
		{{true}},
		{{false}},
		{{nil}, {(*int)(nil)}, {sql.NullInt64{}}},
		{{now}},
		{{now.Add(1)}},
		{{"a", "b"}},
		{{"ab", ""}},
		{{"", "ab"}},
		{{"ab"}},
		{{"as\x01b"}},
		{{1, 2}},
		{{2, 1}},
	}
	seen := map[string]int{}
	for i, keys := range rows {
		for _, key := range keys {
			text, exact := rowkey.Text(key)
			require.True(t, exact, "%#v", key)
			first, ok := seen[text]
			require.True(t, !ok || first == i, "%#v is not %#v", key, rows[first][0])
			seen[text] = i
		}
	}
	require.Len(t, seen, len(rows))
}

func TestTypesOfTheDriversOwn(t *testing.T) {
	text, exact := rowkey.Text([]any{1, [2]byte{3, 4}})
	require.False(t, exact)
	others, exact := rowkey.Text([]any{[]string{"a b"}})
	require.False(t, exact)
	another, _ := rowkey.Text([]any{[]string{"a", "b"}})
	require.NotEqual(t, others, another)
	other, _ := rowkey.Text([]any{1, [2]byte{3, 5}})
	require.NotEqual(t, text, other)
	again, _ := rowkey.Text([]any{1, [2]byte{3, 4}})
	require.Equal(t, text, again)
}

func TestOrder(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ordered := []any{
		nil, false, true,
		math.MinInt64, -5, int8(-1), 0, uint8(3), 10, uint64(math.MaxInt64), uint64(math.MaxInt64) + 1, uint64(math.MaxUint64),
		math.Inf(-1), -1e300, -1.5, 0.0, 1.5, math.Inf(1),
		"", "\x00", "\x01", "A", "a", "a\x00", "a\x00b", "ab", "b", "b\xff",
		[]byte{}, []byte("a"),
		time.Unix(-1, 0).UTC(), noon, noon.Add(1), noon.Add(time.Second),
	}
	for i, a := range ordered {
		for j, b := range ordered {
			x, _ := rowkey.Text([]any{a, "z"})
			y, _ := rowkey.Text([]any{b, "a"})
			require.Equal(t, i < j, i != j && x < y, "%#v %#v", a, b)
		}
	}
}

func TestIsNull(t *testing.T) {
	for _, v := range []any{nil, (*string)(nil), sql.NullString{}} {
		require.True(t, rowkey.IsNull(v), "%#v", v)
	}
	for _, v := range []any{0, "", []byte{}, [2]byte{}, sql.NullString{Valid: true}} {
		require.False(t, rowkey.IsNull(v), "%#v", v)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a", "b", "ab", "")
	f.Add("s\x01", "a", "s", "\x01a")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		one, _ := rowkey.Text([]any{a, b})
		other, _ := rowkey.Text([]any{c, d})
		require.Equal(t, a == c && b == d, one == other)
	})
}
