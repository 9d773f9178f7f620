package optimistic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/optimistic"
)

// inCallback returns the context of a callback whose transaction has locked some rows of "items".
func inCallback(t *testing.T, db *sql.DB, d nogap.Dialect, ids ...int64) (ctx context.Context, tx *sql.Tx, end func()) {
	t.Helper()
	server, err := dialect.Assume(d)
	require.NoError(t, err)
	items, err := table.Bind(db, "items", table.Options{})
	require.NoError(t, err)
	var locks []holding.Lock
	for _, id := range ids {
		locks = append(locks, items.Lock([]any{id}))
	}
	tx, err = db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { tx.Rollback() })
	ctx, end = holding.Begin(t.Context(), db, tx, server, true, locks)
	return ctx, tx, end
}

// writes are the methods that wait for the lock of row id.
func writes(items *optimistic.Table[Item], id int64) map[string]func(context.Context) error {
	item := func() *Item { return &Item{ID: id, Stock: 1, Version: 7} }
	return map[string]func(context.Context) error{
		"Update": func(ctx context.Context) error { return items.Update(ctx, item()) },
		"Modify": func(ctx context.Context) error { _, err := items.Modify(ctx, take, id); return err },
		"Delete": func(ctx context.Context) error { return items.Delete(ctx, item()) },
	}
}

// A write on the pool of a row that the callback around it has locked would wait for itself, for ever.
func TestRefusedInCallback(t *testing.T) {
	for _, method := range []string{"Update", "Modify", "Delete"} {
		t.Run(method, func(t *testing.T) {
			s := newShop()
			s.rows[43] = &Item{43, 2, 7}
			db := s.DB()
			items, err := optimistic.NewTable[Item](db, "items")
			require.NoError(t, err)
			ctx, tx, end := inCallback(t, db, nogap.Postgres, 42)

			err = writes(items, 42)[method](ctx)
			require.ErrorIs(t, err, holding.ErrHeld)
			require.EqualError(t, err, "optimistic: items at [42]: "+holding.ErrHeld.Error())
			require.ErrorContains(t, err, "WithTx(tx)")
			require.Equal(t, []string{"BEGIN"}, s.Log(), "nothing was sent")
			_, err = items.Get(ctx, 42)
			require.NoError(t, err, "Get waits for nobody")

			require.NoError(t, writes(items, 43)[method](ctx), "another row")
			require.NoError(t, writes(items.WithTx(tx), 42)[method](ctx), "the callback's own transaction")
			require.ErrorIs(t, writes(items, 42)[method](ctx), holding.ErrHeld)
			s.mu.Lock()
			s.rows[42] = &Item{42, 2, 7}
			s.mu.Unlock()
			end()
			require.NoError(t, writes(items, 42)[method](ctx), "the callback is over")
		})
	}
}

// What is written in the callback's transaction is locked from then on.
func TestWrittenInCallback(t *testing.T) {
	for _, method := range []string{"Update", "Modify", "Delete"} {
		t.Run(method, func(t *testing.T) {
			s := newShop()
			db := s.DB()
			items, err := optimistic.NewTable[Item](db, "items")
			require.NoError(t, err)
			ctx, tx, _ := inCallback(t, db, nogap.Postgres)
			require.NoError(t, writes(items.WithTx(tx), 42)[method](ctx))
			for other, write := range writes(items, 42) {
				require.ErrorIs(t, write(ctx), holding.ErrHeld, other)
			}
		})
	}
}

// A write that was lost has locked the row where the reason for it is read with FOR UPDATE.
func TestLostInCallback(t *testing.T) {
	for d, locks := range map[nogap.Dialect]bool{nogap.Postgres: false, nogap.MySQL: true, nogap.MariaDB: true} {
		t.Run(d.String(), func(t *testing.T) {
			s := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				if strings.HasPrefix(c.Query, "SHOW") {
					return fakedb.Reply{Columns: []string{"name", "value"}}, nil // no Galera
				}
				if strings.HasSuffix(c.Query, " RETURNING 1") || strings.Contains(c.Query, " RETURNING 1 / ") {
					return one(false), nil
				}
				if c.Kind == fakedb.Query {
					require.Equal(t, locks, strings.HasSuffix(c.Query, " FOR UPDATE"), c.Query)
				}
				return fakedb.Reply{Columns: []string{"version"}, Rows: [][]driver.Value{{int64(8)}}}, nil
			})
			db := s.DB()
			items, err := optimistic.NewTable[Item](db, "items", optimistic.WithDialect(d))
			require.NoError(t, err)
			ctx, tx, _ := inCallback(t, db, d)
			require.ErrorIs(t, items.WithTx(tx).Update(ctx, &Item{42, 1, 7}), optimistic.ErrVersionConflict)
			err = items.Delete(ctx, &Item{42, 1, 7})
			if locks {
				require.ErrorIs(t, err, holding.ErrHeld)
			} else {
				require.ErrorIs(t, err, optimistic.ErrVersionConflict)
			}
		})
	}
}
