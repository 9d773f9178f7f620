//go:build unix

package pessimistic_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/mysqldialect"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"
	"gorm.io/driver/mysql"
	"gorm.io/driver/postgres"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// lockInTx locks row 1 of items in a transaction of some library, and makes sure that another process can't have it.
func lockInTx(t *testing.T, target matrix.Target, tx nogap.Tx, other *sql.DB) {
	t.Helper()
	ctx := concurrent.Within(t, time.Minute)
	it, err := pessimistic.LockRow[Item](ctx, tx, item(1))
	require.NoError(t, err)
	require.Equal(t, Item{1, 100}, *it)
	patience := pessimistic.NoWait()
	if isSQLite(target) {
		patience = pessimistic.Timeout(50 * time.Millisecond)
	}
	rows, err := pessimistic.LockRows[Item](ctx, tx, pessimistic.Rows{Table: "items", Keys: []any{1, int64(1)}})
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.Same(t, rows[0], rows[1])
	rows, err = pessimistic.LockRows[Item](ctx, tx, pessimistic.Rows{Table: "items", Where: "id < " + first(target), Args: []any{9}})
	require.NoError(t, err)
	require.Equal(t, []int64{1}, idsOf(rows))
	err = pessimistic.WithRowLock(ctx, other, item(1), notCalled(t), patience)
	var locked *pessimistic.LockError
	require.ErrorAs(t, err, &locked)
	require.Equal(t, nogap.Key{1}, locked.Key)
}

func gormOf(t *testing.T, target matrix.Target, db *sql.DB, prepare bool) *gorm.DB {
	t.Helper()
	dialector := map[nogap.Dialect]gorm.Dialector{
		nogap.Postgres: postgres.New(postgres.Config{Conn: db}),
		nogap.MariaDB:  mysql.New(mysql.Config{Conn: db}),
		nogap.MySQL:    mysql.New(mysql.Config{Conn: db}),
		nogap.SQLite:   sqlite.New(sqlite.Config{Conn: db}),
	}[target.Dialect]
	g, err := gorm.Open(dialector, &gorm.Config{PrepareStmt: prepare, Logger: logger.Discard})
	require.NoError(t, err)
	return g
}

func TestLockRowInGORM(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, other := target.Connect(t, dsn), target.Connect(t, dsn)
		createItems(t, db, 1)
		for name, prepare := range map[string]bool{"plain": false, "prepared": true} {
			t.Run(name, func(t *testing.T) {
				g := gormOf(t, target, db, prepare)
				_, err := pessimistic.LockRow[Item](t.Context(), g.ConnPool, item(1))
				require.ErrorContains(t, err, "is a pool")
				err = g.Transaction(func(tx *gorm.DB) error {
					lockInTx(t, target, tx.Statement.ConnPool, other)
					return tx.Exec("UPDATE items SET note = ? WHERE id = ?", name, 1).Error
				})
				require.NoError(t, err)
				var note string
				require.NoError(t, db.QueryRow("SELECT note FROM items").Scan(&note))
				require.Equal(t, name, note)
				if prepared, ok := g.ConnPool.(*gorm.PreparedStmtDB); ok {
					prepared.Close()
				}
			})
		}
	})
}

func TestLockRowInBun(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, other := target.Connect(t, dsn), target.Connect(t, dsn)
		createItems(t, db, 1)
		b := bun.NewDB(db, map[nogap.Dialect]schema.Dialect{
			nogap.Postgres: pgdialect.New(), nogap.MariaDB: mysqldialect.New(), nogap.MySQL: mysqldialect.New(), nogap.SQLite: sqlitedialect.New(),
		}[target.Dialect])
		_, err := pessimistic.LockRow[Item](t.Context(), b, item(1))
		require.ErrorContains(t, err, "is a pool")
		err = b.RunInTx(concurrent.Within(t, time.Minute), nil, func(ctx context.Context, tx bun.Tx) error {
			_, err := pessimistic.LockRow[Item](ctx, tx, item(1))
			require.ErrorContains(t, err, "pass the *sql.Tx that it embeds")
			lockInTx(t, target, tx.Tx, other)
			_, err = tx.NewRaw("UPDATE items SET stock = ? WHERE id = ?", 7, 1).Exec(ctx)
			return err
		})
		require.NoError(t, err)
		require.Equal(t, 7, stockOf(t, db, 1))
	})
}

// A connection alone commits each statement, so that the lock would be lost at once. It is taken for what it is, and is as
// good as any transaction after BEGIN.
func TestLockRowOnAConnection(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, other := target.Connect(t, dsn), target.Connect(t, dsn)
		createItems(t, db, 1)
		ctx := concurrent.Within(t, time.Minute)
		conn, err := db.Conn(ctx)
		require.NoError(t, err)
		defer conn.Close()
		for range 2 {
			_, err = pessimistic.LockRow[Item](ctx, conn, item(1))
			require.ErrorContains(t, err, "in no transaction")
			require.NoError(t, pessimistic.WithRowLock(ctx, other, item(1), take(0)), "nothing is left locked or open")

			_, err = conn.ExecContext(ctx, "BEGIN")
			require.NoError(t, err)
			lockInTx(t, target, conn, other)
			_, err = conn.ExecContext(ctx, "ROLLBACK")
			require.NoError(t, err)
		}
	})
}

// Without a mapper a *sqlx.Tx can't scan a struct itself.
func TestLockRowInTransactionMadeByHand(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, other := target.Connect(t, dsn), target.Connect(t, dsn)
		createItems(t, db, 1)
		for name, wrap := range map[string]func(*sql.Tx) nogap.Tx{
			"*sql.Tx":  func(tx *sql.Tx) nogap.Tx { return tx },
			"*sqlx.Tx": func(tx *sql.Tx) nogap.Tx { return &sqlx.Tx{Tx: tx} },
		} {
			tx, err := db.Begin()
			require.NoError(t, err)
			lockInTx(t, target, wrap(tx), other)
			require.NoError(t, tx.Rollback(), name)
		}
	})
}
