package table_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// serverError is an error as PostgreSQL's drivers return it.
type serverError string

func (e serverError) Error() string    { return "SQLSTATE " + string(e) }
func (e serverError) SQLState() string { return string(e) }

// refusing returns a Table whose server answers every statement with an error, and counts them.
func refusing(t *testing.T, refusal error, o table.Options) (items *table.Table, sent *int) {
	t.Helper()
	sent = new(int)
	db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Exec {
			*sent++
			return fakedb.Reply{}, refusal
		}
		return fakedb.Reply{}, nil
	})
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	items, err := table.Bind(db, "items", o)
	require.NoError(t, err)
	return items, sent
}

func write(ctx context.Context) func(txn.Runner) error {
	return func(r txn.Runner) error {
		_, err := r.Exec(ctx, "UPDATE items SET stock = 1")
		return err
	}
}

func TestPolicy(t *testing.T) {
	var lost []int
	backoff := func(n int) time.Duration { lost = append(lost, n); return 0 }
	items, sent := refusing(t, serverError("40001"), table.Options{Dialect: nogap.Postgres, Policy: txn.Policy{MaxAttempts: 3, Backoff: backoff}})
	require.ErrorIs(t, items.Statement(t.Context(), nil, write(t.Context())), nogap.ErrRetriesExhausted)
	require.Equal(t, 3, *sent)
	require.Equal(t, []int{1, 2}, lost)
	require.ErrorIs(t, items.Transaction(t.Context(), nil, write(t.Context())), nogap.ErrRetriesExhausted)
	require.Equal(t, 6, *sent)
}

func TestOneStatement(t *testing.T) {
	items, sent := refusing(t, serverError("40001"), table.Options{})
	err := items.OneStatement(t.Context(), write(t.Context()))
	require.ErrorIs(t, err, serverError("40001"))
	require.NotErrorIs(t, err, nogap.ErrRetriesExhausted)
	require.Equal(t, 1, *sent)

	require.ErrorContains(t, items.In(nil).OneStatement(t.Context(), write(t.Context())), "the transaction is nil")
	require.Equal(t, 1, *sent)

	items, _ = refusing(t, serverError("55P03"), table.Options{})
	require.ErrorIs(t, items.OneStatement(t.Context(), write(t.Context())), nogap.ErrLockTimeout)
}

// Without an observer an operation allocates nothing, also after one has gone.
func TestNoObserverNoAllocation(t *testing.T) {
	items, _ := refusing(t, nil, table.Options{})
	ctx, calls := context.Background(), 0
	operation := func() {
		items.Operation(ctx, "optimistic.Get", func(_ context.Context, op *observe.Op) error {
			op.Attempt(1)
			op.Waited(time.Second)
			op.CallbackFailed()
			calls++
			return nil
		})
	}
	require.Zero(t, testing.AllocsPerRun(100, operation))
	nogap.Observe(items.DB(), nobody{})()
	require.Zero(t, testing.AllocsPerRun(100, operation))
	require.NotZero(t, calls)
}

type nobody struct{}

func (nobody) Start(ctx context.Context, _ nogap.Operation) (context.Context, func(nogap.Result)) {
	return ctx, func(nogap.Result) {}
}
