package atomic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// roman and tally are integers in Go and not in the column.
type (
	roman int
	tally int
)

func (r roman) Value() (driver.Value, error) { return strings.Repeat("I", int(r)), nil }
func (t *tally) Scan(src any) error {
	*t = tally(len(src.(string)))
	return nil
}

func TestCoalesceBadInput(t *testing.T) {
	row := smallint(5)
	db := fakedb.Open(row.handle)
	defer db.Close()
	counter := newStock[int64](t, db)
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	row.statements()
	for want, c := range map[string]*atomic.Coalescer[int64]{
		"the Counter is nil":            atomic.Coalesce[int64](nil),
		"part of a transaction":         atomic.Coalesce(counter.WithTx(tx)),
		"MaxBatch(0) is less than 1":    atomic.Coalesce(counter, atomic.MaxBatch(0)),
		"MaxWaiting(-1) is less than 1": atomic.Coalesce(counter, atomic.MaxWaiting(-1)),
		"Timeout(0s) is not positive":   atomic.Coalesce(counter, atomic.Timeout(0)),
		"option 0 is nil":               atomic.Coalesce(counter, nil),
		"MaxBatch is given twice":       atomic.Coalesce(counter, atomic.MaxBatch(1), atomic.MaxWaiting(1), atomic.MaxBatch(2)),
		"MaxWaiting is given twice":     atomic.Coalesce(counter, atomic.MaxWaiting(1), atomic.MaxWaiting(1)),
		"Timeout is given twice":        atomic.Coalesce(counter, atomic.Timeout(1), atomic.Timeout(1)),
	} {
		for _, op := range []byte{0, 1, 2, 3} {
			_, err := request{op: op, n: 1, limit: 9}.call(t.Context(), c)
			require.ErrorContains(t, err, want)
		}
		require.ErrorContains(t, c.Close(), want)
	}
	_, err = atomic.Coalesce(newStock[roman](t, db)).Decrement(t.Context(), 1, "sku-1")
	require.ErrorContains(t, err, "Value or Scan method")
	_, err = atomic.Coalesce(newStock[tally](t, db)).Increment(t.Context(), 1, "sku-1")
	require.ErrorContains(t, err, "Value or Scan method")

	c := atomic.Coalesce(counter)
	for _, op := range []byte{1, 2, 3} {
		_, err := request{op: op, n: -1}.call(t.Context(), c)
		require.ErrorContains(t, err, "amount -1 is negative")
	}
	_, err = c.DecrementIfPositive(t.Context())
	require.ErrorContains(t, err, "has one value for each of (id)")
	for _, null := range []any{nil, (*string)(nil), sql.NullString{}} {
		_, err = c.DecrementIfPositive(t.Context(), null)
		require.ErrorContains(t, err, "items.id is NULL")
	}
	require.Empty(t, row.statements())
	require.Zero(t, c.Rows())
}

// What only the driver can read is not merged, and can't be mistaken for another row.
func TestCoalesceKeys(t *testing.T) {
	type sku string
	now := time.Now()
	for name, test := range map[string]struct {
		a, b any
		same bool
	}{
		"text":                     {"a", sku("a"), true},
		"an integer":               {1, int64(1), true},
		"text and bytes":           {"a", []byte("a"), false},
		"number and text":          {1, "1", false},
		"not a number":             {math.NaN(), math.NaN(), true},
		"a pointer":                {&[]string{"a"}[0], "a", true},
		"a time":                   {now, now.Round(0), true},
		"another zone":             {now.UTC(), now.In(time.FixedZone("", 3600)), false},
		"known to the driver only": {[]string{"a"}, []string{"a"}, false},
	} {
		bubble(name, t, func(t *testing.T) {
			hold := make(chan struct{})
			c := coalesce[int64](t, func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				if c.Kind == fakedb.Query {
					<-hold
				}
				return fakedb.Row(int64(1)), nil
			})
			for _, key := range []any{test.a, test.b} {
				go c.DecrementIfPositive(context.Background(), key)
				synctest.Wait()
			}
			want := map[bool]int{true: 1}[test.same]
			require.Equal(t, want, c.Waiting())
			close(hold)
			synctest.Wait()
			require.Zero(t, c.Rows())
		})
	}
}

// Whatever the integer type is, what it cannot hold is the Counter's to answer.
func TestCoalesceTypes(t *testing.T) {
	t.Run("int", inType[int])
	t.Run("int8", inType[int8])
	t.Run("uint8", inType[uint8])
	t.Run("uint16", inType[uint16])
	t.Run("uint64", inType[uint64])
	type pieces int32
	t.Run("a type of one's own", inType[pieces])
}

func inType[N int | int8 | uint8 | uint16 | uint64 | ~int32](t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row := smallint(100)
		row.low = 0
		hold := make(chan struct{})
		row.before = func(context.Context, fakedb.Call) error {
			<-hold
			return nil
		}
		c := coalesce[N](t, row.handle)
		defer c.Close()
		var values [6]N
		var errs [6]error
		for i, call := range []func(context.Context) (N, error){
			func(ctx context.Context) (N, error) { return c.Increment(ctx, 1, "sku-1") },
			func(ctx context.Context) (N, error) { return c.Increment(ctx, 25, "sku-1") },
			func(ctx context.Context) (N, error) { return c.Decrement(ctx, 127, "sku-1") },
			func(ctx context.Context) (N, error) { return c.IncrementUpTo(ctx, 10, 120, "sku-1") },
			func(ctx context.Context) (N, error) { return c.Decrement(ctx, 126, "sku-1") },
			func(ctx context.Context) (N, error) { return c.DecrementIfPositive(ctx, "sku-1") },
		} {
			go func() { values[i], errs[i] = call(context.Background()) }()
			synctest.Wait()
		}
		close(hold)
		synctest.Wait()
		require.Equal(t, [6]N{101, 126, 126, 126, 0, 0}, values)
		for i, want := range []error{nil, nil, atomic.ErrInsufficient, atomic.ErrLimit, nil, atomic.ErrInsufficient} {
			require.ErrorIs(t, errs[i], want)
		}
	})
}
