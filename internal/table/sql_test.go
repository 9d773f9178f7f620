package table_test

import (
	"context"

	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// statements is what a user package would build.
type statements struct{ server string }

func build(ctx context.Context, r txn.Runner, s dialect.Server, _ dialect.Look) (*statements, error) {
	var looked int
	err := r.Read(ctx, "LOOK", nil, &looked)
	return &statements{s.String()}, err
}

// look answers the question of build.
func look(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
	switch c.Query {
	case "SELECT version()":
		return fakedb.Row("8.0.36"), nil
	case "LOOK":
		return fakedb.Row(int64(1)), nil
	}
	return fakedb.Reply{RowsAffected: 1}, nil
}

func TestSQLIsBuiltOnce(t *testing.T) {
	server := fakedb.Recorded(look)
	db := server.DB()
	defer db.Close()
	var q table.SQL[statements]
	require.Nil(t, q.Built())
	first, err := q.Of(t.Context(), bind(t, db), build)
	require.NoError(t, err)
	require.Equal(t, "MySQL 8.0", first.server)
	again, err := q.Of(t.Context(), bind(t, db), build)
	require.NoError(t, err)
	require.Same(t, first, again)
	require.Same(t, first, q.Built())
	require.Equal(t, []string{"SELECT version()", "LOOK"}, server.Log())

	// Another table of the same database need not ask what the server is.
	_, err = new(table.SQL[statements]).Of(t.Context(), bind(t, db), build)
	require.NoError(t, err)
	require.Equal(t, []string{"SELECT version()", "LOOK", "LOOK"}, server.Log())
}

// WithDialect spares the question, not the look.
func TestSQLOfAToldDialect(t *testing.T) {
	server := fakedb.Recorded(look)
	db := server.DB()
	defer db.Close()
	items, err := table.Bind(db, "items", table.Options{Dialect: nogap.MariaDB})
	require.NoError(t, err)
	s, err := new(table.SQL[statements]).Of(t.Context(), items, build)
	require.NoError(t, err)
	require.Equal(t, "MariaDB", s.server)
	require.Equal(t, []string{"LOOK"}, server.Log())
}

func TestSQLForgetsAFailure(t *testing.T) {
	for _, failing := range []string{"SELECT version()", "LOOK"} {
		fail := true
		db := fakedb.Open(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if fail && c.Query == failing {
				return fakedb.Reply{}, &MySQLError{1142, "denied"}
			}
			return look(ctx, c)
		})
		defer db.Close()
		var q table.SQL[statements]
		_, err := q.Of(t.Context(), bind(t, db), build)
		require.ErrorContains(t, err, "denied", failing)
		require.Nil(t, q.Built())
		fail = false
		_, err = q.Of(t.Context(), bind(t, db), build)
		require.NoError(t, err)
	}
}

func TestSQLConcurrently(t *testing.T) {
	var asked, looked atomic.Int64
	db := fakedb.Open(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch c.Query {
		case "SELECT version()":
			asked.Add(1)
		case "LOOK":
			looked.Add(1)
		}
		return look(ctx, c)
	})
	defer db.Close()
	db.SetMaxOpenConns(3)
	var q table.SQL[statements]
	got := make([]*statements, 32)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			s, err := q.Of(t.Context(), bind(t, db), build)
			if err != nil {
				t.Error(err)
			}
			got[i] = s
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, asked.Load())
	require.EqualValues(t, 1, looked.Load(), "the others wait for what the first one finds")
	for _, s := range got {
		require.Same(t, got[0], s, "all have the same one")
	}
}

// The pool's only connection is in the caller's transaction: to take another one would wait for ever.
func TestSQLInATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := fakedb.Recorded(look)
		db := server.DB()
		defer db.Close()
		db.SetMaxOpenConns(1)
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var q table.SQL[statements]
		items := bind(t, db)
		s, err := q.Of(ctx, items.In(tx), build)
		require.NoError(t, err)
		require.Equal(t, []string{"BEGIN", "SELECT version()", "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'", "LOOK"}, server.Log())
		require.NoError(t, tx.Rollback())
		// The pool's first call looks for the triggers of MySQL, for which there was no way before, and what it finds is kept.
		again, err := q.Of(ctx, items, build)
		require.NoError(t, err)
		require.Equal(t, s, again)
		require.Same(t, again, q.Built())
		for range 2 {
			kept, err := q.Of(ctx, items, build)
			require.NoError(t, err)
			require.Same(t, again, kept)
		}
		require.Equal(t, []string{"BEGIN", "SELECT version()", "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'", "LOOK", "ROLLBACK", "LOOK"}, server.Log())
	})
}

func TestSQLContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := fakedb.Open(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if c.Query == "SELECT version()" {
				select {
				case <-ctx.Done():
					return fakedb.Reply{}, ctx.Err()
				case <-time.After(time.Hour):
				}
			}
			return look(ctx, c)
		})
		defer db.Close()
		var q table.SQL[statements]
		ask := func(limit time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			start := time.Now()
			_, err := q.Of(ctx, bind(t, db), build)
			if err != nil {
				require.Equal(t, limit, time.Since(start))
			}
			return err
		}
		require.ErrorIs(t, ask(time.Second), context.DeadlineExceeded)
		require.NoError(t, ask(2*time.Hour))
		require.Zero(t, db.Stats().InUse)
	})
}
