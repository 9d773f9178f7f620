package atomic_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

func TestCoalesceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(2)
		c := coalesce[int64](t, row.handle)
		type whose struct{}
		row.before = func(ctx context.Context, _ fakedb.Call) error {
			require.Equal(t, "mine", ctx.Value(whose{}))
			return nil
		}
		ctx := context.WithValue(t.Context(), whose{}, "mine")
		for _, left := range []int64{1, 0} {
			v, err := c.DecrementIfPositive(ctx, "sku-1")
			require.NoError(t, err)
			require.Equal(t, left, v)
			require.Equal(t, []string{"UPDATE"}, row.statements())
		}
		v, err := c.DecrementIfPositive(ctx, "sku-1")
		require.ErrorIs(t, err, atomic.ErrInsufficient)
		require.Zero(t, v)
		require.Equal(t, []string{"UPDATE", "SELECT"}, row.statements())
		require.Zero(t, c.Rows())
	})
}

func TestCoalesceMerges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(100)
		crowd := gather(t, row)
		crowd.more(9)
		require.Equal(t, 9, crowd.c.Waiting())
		crowd.goOn()
		for i, a := range crowd.answers[1:] {
			require.NoError(t, a.err)
			require.Equal(t, int64(99-i), a.value)
		}
		require.Equal(t, []string{"SELECT", "UPDATE"}, row.statements(), "the first, who added nothing, and the batch")
	})
}

func TestCoalesceGrantsWhatFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(10)
		crowd := gather(t, row)
		for _, n := range []int64{4, 4, 4, 3, 2, 1} {
			crowd.call(t.Context(), take(n))
		}
		crowd.goOn()
		want := []result{
			{value: 10},
			{value: 6}, {value: 2}, {2, atomic.ErrInsufficient, true}, {2, atomic.ErrInsufficient, true},
			{value: 0}, {0, atomic.ErrInsufficient, true},
		}
		for i, a := range crowd.answers {
			require.Equal(t, want[i], a.result, i)
		}
		require.Equal(t, []string{"SELECT", "UPDATE"}, row.statements())
		var refused *atomic.RefusedError
		require.ErrorAs(t, crowd.answers[3].err, &refused)
		require.Equal(t, &atomic.RefusedError{
			Err: atomic.ErrInsufficient, Table: "items", Column: "stock", Key: atomic.Key{"sku-1"}, Current: int64(2),
		}, refused)
	})
}

func TestCoalesceRefusesWithOneLook(t *testing.T) {
	bubble("as it was", t, func(t *testing.T) {
		row := smallint(0)
		crowd := gather(t, row)
		crowd.more(5)
		crowd.goOn()
		for _, a := range crowd.answers[1:] {
			require.ErrorIs(t, a.err, atomic.ErrInsufficient)
		}
		require.Equal(t, []string{"SELECT", "SELECT"}, row.statements())
	})
	bubble("not any more", t, func(t *testing.T) {
		row := smallint(0)
		n := 0
		row.before = func(context.Context, fakedb.Call) error {
			if n++; n == 2 {
				row.set(3) // another process fills up before the batch leaves
			}
			return nil
		}
		crowd := gather(t, row)
		crowd.more(5)
		crowd.goOn()
		for i, a := range crowd.answers[1:] {
			if i < 3 {
				require.NoError(t, a.err)
				require.Equal(t, int64(2-i), a.value)
			} else {
				require.ErrorIs(t, a.err, atomic.ErrInsufficient)
			}
		}
		require.Equal(t, []string{"SELECT", "SELECT", "UPDATE"}, row.statements())
	})
}

// A row that another process changes before each of the batch's statements is locked in the end.
func TestCoalesceLocksARowThatKeepsChanging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(5)
		locked := false
		row.before = func(_ context.Context, c fakedb.Call) error {
			locked = locked || strings.HasSuffix(c.Query, "FOR UPDATE")
			if strings.HasPrefix(c.Query, "UPDATE") && !locked {
				row.set(104 - row.get())
			}
			return nil
		}
		crowd := gather(t, row)
		crowd.call(t.Context(), request{op: 3, n: 10, limit: 100}) // fits 5, but not 99
		crowd.call(t.Context(), take(95))                          // fits 99, but not 15
		crowd.goOn()
		require.Equal(t, []string{
			"SELECT", "UPDATE", "SELECT", "UPDATE", "SELECT", "UPDATE", "BEGIN", "LOCK", "UPDATE", "COMMIT",
		}, row.statements())
		require.Equal(t, result{99, atomic.ErrLimit, true}, crowd.answers[1].result)
		require.Equal(t, result{value: 4}, crowd.answers[2].result)
		require.Equal(t, int64(4), row.get())
	})
}
