package holding_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/holding"
)

var (
	a = holding.Lock{Table: "items(id)", Key: "a"}
	b = holding.Lock{Table: "items(id)", Key: "b"}
	// the same key in another table
	other = holding.Lock{Table: "orders(id)", Key: "a"}
)

func server(t *testing.T, d nogap.Dialect) dialect.Server {
	t.Helper()
	s, err := dialect.Assume(d)
	require.NoError(t, err)
	return s
}

func begin(t *testing.T) (*sql.DB, *sql.Tx) {
	t.Helper()
	db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
	t.Cleanup(func() { db.Close() })
	return db, beginOn(t, db)
}

func beginOn(t *testing.T, db *sql.DB) *sql.Tx {
	t.Helper()
	tx, err := db.Begin()
	require.NoError(t, err)
	t.Cleanup(func() { tx.Rollback() })
	return tx
}

func locks(l ...holding.Lock) []holding.Lock { return l }

func TestCheck(t *testing.T) {
	db, tx := begin(t)
	foreign, _ := begin(t)
	postgres, sqlite := server(t, nogap.Postgres), server(t, nogap.SQLite)
	for _, tt := range []struct {
		name   string
		server dialect.Server
		held   bool // exclusively
		db     *sql.DB
		wants  bool // exclusively
		lock   holding.Lock
		want   error
	}{
		{"the row", postgres, true, db, true, a, holding.ErrHeld},
		{"the row, shared", postgres, true, db, false, a, holding.ErrHeld},
		{"the row that is shared", postgres, false, db, true, a, holding.ErrHeld},
		{"the row that is shared, shared", postgres, false, db, false, a, nil},
		{"another row", postgres, true, db, true, b, nil},
		{"another table", postgres, true, db, true, other, nil},
		{"another database", postgres, true, foreign, true, a, nil},
		{"SQLite, the row", sqlite, true, db, true, a, holding.ErrHeld},
		{"SQLite, another row", sqlite, true, db, true, b, holding.ErrHeld},
		{"SQLite, another table", sqlite, true, db, true, other, holding.ErrHeld},
		{"SQLite, a reader in a callback that writes", sqlite, true, db, false, a, holding.ErrHeld},
		{"SQLite, another file", sqlite, true, foreign, true, a, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, holding.Check(t.Context(), tt.db, tt.wants, tt.lock), "without a callback")
			ctx, end := holding.Begin(t.Context(), db, tx, tt.server, tt.held, locks(a))
			require.Equal(t, tt.want, holding.Check(ctx, tt.db, tt.wants, tt.lock))
			end()
			require.NoError(t, holding.Check(ctx, tt.db, tt.wants, tt.lock), "a goroutine that outlives the callback")
			end()
		})
	}
}

func TestWithin(t *testing.T) {
	db, tx := begin(t)
	require.False(t, holding.Within(t.Context()))
	ctx, end := holding.Begin(t.Context(), db, tx, server(t, nogap.MySQL), true, nil)
	defer end()
	require.True(t, holding.Within(ctx))
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	require.True(t, holding.Within(ctx))
}

func TestAdd(t *testing.T) {
	db, tx := begin(t)
	given := locks(a)
	ctx, end := holding.Begin(t.Context(), db, tx, server(t, nogap.MySQL), true, given[:1:1])
	defer end()
	require.NoError(t, holding.Check(ctx, db, true, b))
	holding.Add(ctx, beginOn(t, db), true, b)
	holding.Add(ctx, db, true, b)
	holding.Add(ctx, nil, true, b)
	holding.Add(t.Context(), tx, true, b)
	require.NoError(t, holding.Check(ctx, db, true, b), "not of this transaction, or of none")
	holding.Add(ctx, tx, true, b)
	holding.Add(ctx, tx, true, b)
	require.Equal(t, holding.ErrHeld, holding.Check(ctx, db, true, b))
	require.Equal(t, holding.ErrHeld, holding.Check(ctx, db, true, a))
	require.Equal(t, locks(a), given, "the caller's slice is its own")

	// The callback has it as a *sqlx.Tx.
	holding.Add(ctx, &sqlx.Tx{Tx: tx}, true, other)
	require.Equal(t, holding.ErrHeld, holding.Check(ctx, db, true, other))
}

// A write does not make the locks exclusive that were shared before.
func TestAddKeepsSharedLocksShared(t *testing.T) {
	db, tx := begin(t)
	ctx, end := holding.Begin(t.Context(), db, tx, server(t, nogap.Postgres), false, locks(a))
	defer end()
	holding.Add(ctx, tx, true, b)
	require.NoError(t, holding.Check(ctx, db, false, a))
	require.Equal(t, holding.ErrHeld, holding.Check(ctx, db, true, a))
	require.Equal(t, holding.ErrHeld, holding.Check(ctx, db, false, b))
}

func TestNested(t *testing.T) {
	db, outerTx := begin(t)
	foreign, foreignTx := begin(t)
	innerTx := beginOn(t, db)
	postgres := server(t, nogap.Postgres)
	ctx, endOuter := holding.Begin(t.Context(), db, outerTx, postgres, true, locks(a))
	defer endOuter()
	ctx, endForeign := holding.Begin(ctx, foreign, foreignTx, postgres, true, locks(b))
	defer endForeign()
	inner, endInner := holding.Begin(ctx, db, innerTx, postgres, true, locks(other))

	for lock, want := range map[holding.Lock][2]error{
		a:     {holding.ErrHeld, nil},
		b:     {nil, holding.ErrHeld},
		other: {holding.ErrHeld, nil},
	} {
		require.Equal(t, want[0], holding.Check(inner, db, true, lock))
		require.Equal(t, want[1], holding.Check(inner, foreign, true, lock))
	}
	for _, tx := range []*sql.Tx{outerTx, innerTx} {
		gotDB, s, ok := holding.Known(inner, tx)
		require.True(t, ok)
		require.Same(t, db, gotDB)
		require.Equal(t, nogap.Postgres, s.Dialect)
	}
	gotDB, _, ok := holding.Known(inner, &sqlx.Tx{Tx: foreignTx})
	require.True(t, ok)
	require.Same(t, foreign, gotDB)
	_, _, ok = holding.Known(inner, beginOn(t, db))
	require.False(t, ok)
	_, _, ok = holding.Known(ctx, innerTx)
	require.False(t, ok, "outside the inner callback")

	// The inner one would wait for the outer one, and the outer one for the inner one.
	require.Equal(t, holding.ErrHeld, holding.CheckIn(inner, innerTx, true, a))
	require.Equal(t, holding.ErrHeld, holding.CheckIn(inner, outerTx, true, other))
	require.NoError(t, holding.CheckIn(inner, outerTx, true, a))
	require.NoError(t, holding.CheckIn(inner, &sqlx.Tx{Tx: innerTx}, true, other))
	require.NoError(t, holding.CheckIn(inner, foreignTx, true, b))
	require.NoError(t, holding.CheckIn(inner, wrapper{innerTx}, true, a), "which it is can't be told")

	endInner()
	require.NoError(t, holding.Check(inner, db, true, other))
	require.Equal(t, holding.ErrHeld, holding.Check(inner, db, true, a))
}

type wrapper struct{ *sql.Tx }

// A callback may start goroutines.
func TestConcurrently(t *testing.T) {
	db, tx := begin(t)
	ctx, end := holding.Begin(t.Context(), db, tx, server(t, nogap.MySQL), true, locks(a))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 100 {
				lock := holding.Lock{Table: "items(id)", Key: string(rune('c' + i))}
				holding.Add(ctx, tx, true, lock)
				holding.Check(ctx, db, true, lock)
				if i == 50 {
					end()
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, holding.Check(ctx, db, true, a))
}

// A lock that a shared one is added to stays what it is, and an exclusive one makes it exclusive.
func TestAddShared(t *testing.T) {
	db, tx := begin(t)
	ctx, end := holding.Begin(t.Context(), db, tx, server(t, nogap.Postgres), false, locks(a))
	defer end()
	holding.Add(ctx, tx, false, b)
	require.NoError(t, holding.Check(ctx, db, false, b))
	require.ErrorIs(t, holding.Check(ctx, db, true, b), holding.ErrHeld)
	holding.Add(ctx, tx, true, b)
	holding.Add(ctx, tx, false, b)
	require.ErrorIs(t, holding.Check(ctx, db, false, b), holding.ErrHeld)
	require.NoError(t, holding.Check(ctx, db, false, a))
}
