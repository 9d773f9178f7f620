//go:build unix

package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"gorm.io/gorm"
	gormtests "gorm.io/gorm/utils/tests"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// gormOver returns GORM on a pool of ours. It does not matter here which SQL it would make.
func gormOver(t *testing.T, db *sql.DB, prepare bool) *gorm.DB {
	t.Helper()
	g, err := gorm.Open(gormtests.DummyDialector{}, &gorm.Config{ConnPool: db, PrepareStmt: prepare})
	require.NoError(t, err)
	return g
}

// prove checks that tx is a transaction, as the calls do that need one.
func prove(t *testing.T, target matrix.Target, tx nogap.Tx) error {
	t.Helper()
	if err := txn.CheckTx(tx); err != nil {
		return err
	}
	s, err := dialect.Assume(target.Dialect)
	require.NoError(t, err)
	return txn.ProveTx(t.Context(), tx, s)
}

// What GORM calls a ConnPool is a pool or a transaction, depending on where it is asked for.
func TestGORM(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for _, prepare := range []bool{false, true} {
			t.Run(map[bool]string{false: "plain", true: "PrepareStmt"}[prepare], func(t *testing.T) {
				w := newWorld(t, target)
				g := gormOver(t, w.direct, prepare)
				require.ErrorContains(t, txn.CheckTx(g.Statement.ConnPool), "is a pool of connections and no transaction")
				errBack := errors.New("roll back")
				require.ErrorIs(t, g.Transaction(func(g *gorm.DB) error {
					tx := g.Statement.ConnPool
					require.NoError(t, prove(t, target, tx))
					_, wrote, err := txn.ExecOne(t.Context(), txn.In(tx), add)
					require.NoError(t, err)
					require.True(t, wrote)
					return errBack
				}), errBack)
				require.Zero(t, w.applied(t))
				if stmts, ok := g.Statement.ConnPool.(*gorm.PreparedStmtDB); ok {
					stmts.Close()
				}
				requireClean(t, w.direct)
			})
		}
	})
}

// bun.Tx rewrites what it is given; the *sql.Tx inside does not.
func TestBun(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		db := bun.NewDB(w.direct, pgdialect.New())
		require.ErrorContains(t, txn.CheckTx(db), "*bun.DB is a pool of connections and no transaction")
		require.ErrorContains(t, txn.CheckTx(db.DB), "*sql.DB is a pool")
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		require.ErrorContains(t, txn.CheckTx(conn), "bun.Conn rewrites the placeholders of statements: pass the *sql.Conn that it embeds, in its field Conn")
		require.NoError(t, txn.CheckTx(conn.Conn))
		require.NoError(t, conn.Close())
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		for _, tx := range []nogap.Tx{tx, &tx} {
			require.ErrorContains(t, txn.CheckTx(tx), "rewrites the placeholders of statements: pass the *sql.Tx that it embeds, in its field Tx")
		}
		require.NoError(t, prove(t, target, tx.Tx))
		require.NoError(t, tx.Rollback())
		requireClean(t, w.direct)
	})
}

// begun are the ways to have a transaction, other than *sql.Tx.
var begun = []struct {
	name string
	tx   func(*sql.Conn, *sql.Tx) nogap.Tx
}{
	{"*sqlx.Tx", func(_ *sql.Conn, tx *sql.Tx) nogap.Tx { return &sqlx.Tx{Tx: tx} }},
	{"a wrapped one", func(_ *sql.Conn, tx *sql.Tx) nogap.Tx { return struct{ *sql.Tx }{tx} }},
}

// requireNoTransaction checks that what is written on the connection stands at once.
func requireNoTransaction(t *testing.T, w *world, conn *sql.Conn) {
	t.Helper()
	_, err := conn.ExecContext(t.Context(), add)
	require.NoError(t, err)
	require.Equal(t, 1, w.applied(t))
	_, err = conn.ExecContext(t.Context(), "UPDATE items SET stock = 0 WHERE id = 1")
	require.NoError(t, err)
}

// A *sql.Conn doesn't say whether it is in a transaction. The proof leaves nothing behind.
func TestProveTx(t *testing.T) {
	targets := append(matrix.All(), matrix.PgBouncer()...)
	matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		db := target.Connect(t, w.dsn)
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer conn.Close()
		for range 2 {
			require.ErrorContains(t, prove(t, target, conn), "*sql.Conn is in no transaction: begin one, and pass that")
			requireNoTransaction(t, w, conn)
		}
		t.Run("begun by SQL", func(t *testing.T) {
			_, err := conn.ExecContext(t.Context(), "BEGIN")
			require.NoError(t, err)
			for range 2 {
				require.NoError(t, prove(t, target, conn))
				_, err = conn.ExecContext(t.Context(), add)
				require.NoError(t, err, "it goes on")
			}
			_, err = conn.ExecContext(t.Context(), "RELEASE SAVEPOINT nogap")
			require.Error(t, err, "no savepoint is left")
			_, err = conn.ExecContext(t.Context(), "ROLLBACK")
			require.NoError(t, err)
			require.Zero(t, w.applied(t))
			requireNoTransaction(t, w, conn)
		})
		for _, b := range begun {
			t.Run(b.name, func(t *testing.T) {
				tx, err := conn.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				require.NoError(t, prove(t, target, b.tx(conn, tx)))
				require.NoError(t, prove(t, target, conn), "also by its connection")
				_, err = tx.Exec(add)
				require.NoError(t, err)
				require.NoError(t, tx.Rollback())
				require.Zero(t, w.applied(t))
				requireNoTransaction(t, w, conn)
			})
		}
		t.Run("cancelled", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			s, err := dialect.Assume(target.Dialect)
			require.NoError(t, err)
			require.ErrorIs(t, txn.ProveTx(ctx, conn, s), context.Canceled)
			requireNoTransaction(t, w, conn)
		})
	})
}

// A transaction that has failed is one, whatever it answers.
func TestProveTxOfAFailedOne(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		tx, err := w.direct.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("SELECT 1/0")
		require.Error(t, err)
		err = prove(t, target, struct{ *sql.Tx }{tx})
		require.ErrorContains(t, err, "25P02")
		require.NotContains(t, err.Error(), "in no transaction")
		require.NoError(t, tx.Rollback())
	})
}
