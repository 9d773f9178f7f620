package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/rowkey"
)

// things are one of each type, as its methods that write one row.
func things(t *testing.T, db *sql.DB, d nogap.Dialect) map[string]func(ctx context.Context, tx nogap.Tx, key any) error {
	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(d))
	require.NoError(t, err)
	status, err := atomic.NewState[string](db, "items", "status", atomic.WithDialect(d))
	require.NoError(t, err)
	set, err := atomic.NewSet(db, "items", []string{"id"}, atomic.WithDialect(d))
	require.NoError(t, err)
	once, err := atomic.NewSingleUse[struct{}](db, "items", atomic.WithDialect(d), atomic.DeleteUsed())
	require.NoError(t, err)
	hot := atomic.Coalesce(stock)
	t.Cleanup(func() { hot.Close() })
	in := func(tx nogap.Tx) *atomic.Counter[int64] {
		if tx == nil {
			return stock
		}
		return stock.WithTx(tx)
	}
	return map[string]func(ctx context.Context, tx nogap.Tx, key any) error{
		"DecrementIfPositive": func(ctx context.Context, tx nogap.Tx, key any) error {
			_, err := in(tx).DecrementIfPositive(ctx, key)
			return err
		},
		"Increment": func(ctx context.Context, tx nogap.Tx, key any) error {
			_, err := in(tx).Increment(ctx, 1, key)
			return err
		},
		"CompareAndSet": func(ctx context.Context, tx nogap.Tx, key any) error {
			return in(tx).CompareAndSet(ctx, 1, 2, key)
		},
		"Transfer": func(ctx context.Context, tx nogap.Tx, key any) error {
			return in(tx).Transfer(ctx, 1, atomic.Key{"another"}, atomic.Key{key})
		},
		"DecrementAll": func(ctx context.Context, tx nogap.Tx, key any) error {
			return in(tx).DecrementAll(ctx, []atomic.Item[int64]{{Key: atomic.Key{key}, N: 1}})
		},
		"Transition": func(ctx context.Context, tx nogap.Tx, key any) error {
			if tx != nil {
				return status.WithTx(tx).Transition(ctx, "a", "b", key)
			}
			return status.Transition(ctx, "a", "b", key)
		},
		"Add": func(ctx context.Context, tx nogap.Tx, key any) error {
			if tx != nil {
				_, err := set.WithTx(tx).Add(ctx, key)
				return err
			}
			_, err := set.Add(ctx, key)
			return err
		},
		"Use": func(ctx context.Context, tx nogap.Tx, key any) error {
			if tx != nil {
				_, err := once.WithTx(tx).Use(ctx, key)
				return err
			}
			_, err := once.Use(ctx, key)
			return err
		},
		"Coalescer": func(ctx context.Context, tx nogap.Tx, key any) error {
			if tx != nil {
				_, err := atomic.Coalesce(stock.WithTx(tx)).Increment(ctx, 1, key)
				return err
			}
			_, err := hot.Increment(ctx, 1, key)
			return err
		},
	}
}

// A call on the pool for a row that the callback around it has locked would wait for itself.
func TestRefusedInsideACallback(t *testing.T) {
	s := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.Contains(c.Query, ") AS typed ") { // whether two keys are one row
			return fakedb.Reply{Columns: []string{"same"}}, nil
		}
		r := fakedb.Row(int64(1))
		r.RowsAffected, r.LastInsertID = 1, 1
		return r, nil
	})
	db := s.DB()
	defer db.Close()
	other := instant(t)
	server, err := dialect.Assume(nogap.Postgres)
	require.NoError(t, err)
	sqlite, err := dialect.Assume(nogap.SQLite)
	require.NoError(t, err)
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	text, _ := rowkey.Text([]any{"sku-1"})
	locked := []holding.Lock{{Table: "items(id)", Key: text}}

	for name, call := range things(t, db, nogap.Postgres) {
		t.Run(name, func(t *testing.T) {
			ctx, end := holding.Begin(t.Context(), db, tx, server, true, locked)
			sent := len(s.Log())
			err := call(ctx, nil, "sku-1")
			require.ErrorIs(t, err, holding.ErrHeld)
			require.ErrorContains(t, err, "WithTx(tx)")
			require.ErrorContains(t, err, "sku-1")
			require.Len(t, s.Log(), sent, "nothing is sent")

			require.NoError(t, call(ctx, nil, "sku-2"), "another row")
			if name != "Coalescer" {
				require.NoError(t, call(ctx, tx, "sku-1"), "in the callback's transaction")
				require.NoError(t, call(ctx, &sqlx.Tx{Tx: tx}, "sku-3"))
				require.ErrorIs(t, call(ctx, nil, "sku-3"), holding.ErrHeld, "the callback's transaction has written it")
			}
			wide, endWide := holding.Begin(t.Context(), db, tx, sqlite, true, nil)
			require.ErrorIs(t, call(wide, nil, "sku-2"), holding.ErrHeld, "the whole database is locked")
			endWide()
			elsewhere, endElsewhere := holding.Begin(t.Context(), other, tx, sqlite, true, nil)
			require.NoError(t, call(elsewhere, nil, "sku-1"), "another database")
			endElsewhere()
			end()
			require.NoError(t, call(ctx, nil, "sku-1"), "the callback is over")
		})
	}
}

// What is no transaction is refused before anything is sent.
func TestWithTxRefusesPools(t *testing.T) {
	s := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row(int64(1)), nil })
	db := s.DB()
	defer db.Close()
	for name, tx := range map[string]nogap.Tx{
		"*sql.DB": db, "*sqlx.DB": sqlx.NewDb(db, "postgres"), "a nil *sql.Tx": (*sql.Tx)(nil), "a nil *sqlx.Tx": (*sqlx.Tx)(nil),
	} {
		for method, call := range things(t, db, nogap.Postgres) {
			err := call(t.Context(), tx, "sku-1")
			require.ErrorContains(t, err, "transaction", "%s: %s", name, method)
			require.ErrorContains(t, err, "atomic: ", "%s: %s", name, method)
		}
	}
	require.Empty(t, s.Log())
}

// recorder keeps what an Observer is told.
type recorder struct {
	operations []nogap.Operation
	results    []nogap.Result
}

type observed struct{}

func (r *recorder) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	r.operations = append(r.operations, op)
	return context.WithValue(ctx, observed{}, true), func(res nogap.Result) { r.results = append(r.results, res) }
}

// Every method is one operation, and its statements run with the context that the Observer returned.
func TestObserved(t *testing.T) {
	reply := func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil }
	db := fakedb.Open(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Query && ctx.Value(observed{}) == nil {
			return fakedb.Reply{}, errors.New("not the context of the Observer")
		}
		return reply(ctx, c)
	})
	defer db.Close()
	var r recorder
	defer nogap.Observe(db, &r)()
	for method, call := range things(t, db, nogap.Postgres) {
		if method == "Coalescer" {
			continue
		}
		r = recorder{}
		answers := 0
		reply = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if c.Kind != fakedb.Query && c.Kind != fakedb.Exec {
				return fakedb.Reply{}, nil
			}
			if answers++; answers == 1 {
				return fakedb.Reply{}, &deadlock{}
			}
			r := fakedb.Row(int64(1))
			r.RowsAffected = 1
			return r, nil
		}
		require.NoError(t, call(t.Context(), nil, "sku-1"), method)
		require.Equal(t, []nogap.Operation{{Name: "atomic." + method, Table: "items"}}, r.operations)
		require.Equal(t, []nogap.Result{{Outcome: nogap.OutcomeOK, Attempts: 2}}, r.results, method)
	}

	stock := newStock[int64](t, db)
	for name, tt := range map[string]struct {
		reply fakedb.Reply
		err   error
		want  nogap.Outcome
	}{
		"no row":  {fakedb.Reply{Columns: []string{"v"}}, nil, nogap.OutcomeRefused},
		"unknown": {fakedb.Reply{}, errors.New("EOF"), nogap.OutcomeUnknown},
	} {
		r = recorder{}
		reply = func(context.Context, fakedb.Call) (fakedb.Reply, error) { return tt.reply, tt.err }
		_, err := stock.Decrement(t.Context(), 1, "sku-1")
		require.Error(t, err)
		require.Len(t, r.results, 1, name)
		require.Equal(t, tt.want, r.results[0].Outcome, name)
		require.Equal(t, err, r.results[0].Err, name)
	}
	r = recorder{}
	_, err := stock.Decrement(t.Context(), -1, "sku-1")
	require.Error(t, err)
	require.Equal(t, []nogap.Result{{Outcome: nogap.OutcomeError, Err: err}}, r.results, "nothing was sent")
}

type deadlock struct{}

func (*deadlock) Error() string    { return "deadlock" }
func (*deadlock) SQLState() string { return "40P01" }

// The callers of a Coalescer are seen one by one, each with the size of its batch.
func TestObservedCoalescer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if c.Kind == fakedb.Query {
				<-gate
			}
			return fakedb.Row(int64(40)), nil
		})
		defer db.Close()
		var mu sync.Mutex
		var seen []nogap.Result
		stop := nogap.Observe(db, observerFunc(func(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
			require.Equal(t, nogap.Operation{Name: "atomic.Decrement", Table: "items"}, op)
			return ctx, func(r nogap.Result) {
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, r)
			}
		}))
		defer stop()
		hot := atomic.Coalesce(newStock[int64](t, db))
		var wg sync.WaitGroup
		call := func() {
			wg.Go(func() {
				if _, err := hot.Decrement(t.Context(), 1, "sku-1"); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		call()
		call()
		time.Sleep(time.Second)
		call()
		time.Sleep(time.Second)
		gate <- struct{}{} // the first one, alone
		synctest.Wait()
		close(gate) // the other two, together
		wg.Wait()
		require.Equal(t, nogap.Result{Outcome: nogap.OutcomeOK, Attempts: 1, Batch: 1}, seen[0])
		for _, r := range seen[1:] {
			require.Equal(t, 2, r.Batch)
			require.Equal(t, 1, r.Attempts)
			require.Contains(t, []time.Duration{time.Second, 2 * time.Second}, r.Waited)
		}
		require.Len(t, seen, 3)
	})
}

type observerFunc func(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result))

func (f observerFunc) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	return f(ctx, op)
}
