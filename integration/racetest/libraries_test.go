//go:build unix

package racetest_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

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
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

// Item is a row, for every library.
type Item struct {
	ID      int64 `db:"id" gorm:"primaryKey" bun:"id,pk"`
	Stock   int64 `db:"stock"`
	Version int64 `db:"version"`
}

// buyers take one from the stock of item 1, in a transaction that reads it and writes it, with a library.
var buyers = map[string]func(*testing.T, matrix.Target, *sql.DB) func() error{
	"database/sql": func(t *testing.T, target matrix.Target, db *sql.DB) func() error {
		ctx := t.Context()
		w := &witness{dialect: target.Dialect}
		return func() error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			var stock int64
			if err := tx.QueryRowContext(ctx, w.bind("SELECT stock FROM items WHERE id = ?"), 1).Scan(&stock); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, w.bind("UPDATE items SET stock = ? WHERE id = ?"), stock-1, 1); err != nil {
				return err
			}
			return tx.Commit()
		}
	},
	"sqlx": func(t *testing.T, target matrix.Target, db *sql.DB) func() error {
		ctx := t.Context()
		x := sqlx.NewDb(db, target.Driver)
		if target.Driver == "ncruces" {
			x = sqlx.NewDb(db, "sqlite3")
		}
		return func() error {
			tx, err := x.BeginTxx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			var item Item
			if err := tx.GetContext(ctx, &item, tx.Rebind("SELECT * FROM items WHERE id = ?"), 1); err != nil {
				return err
			}
			item.Stock--
			if _, err := tx.NamedExecContext(ctx, "UPDATE items SET stock = :stock WHERE id = :id", item); err != nil {
				return err
			}
			return tx.Commit()
		}
	},
	"gorm": func(t *testing.T, target matrix.Target, db *sql.DB) func() error {
		return gormBuyer(t, target, db, false)
	},
	"gorm prepared": func(t *testing.T, target matrix.Target, db *sql.DB) func() error {
		return gormBuyer(t, target, db, true)
	},
	"bun": func(t *testing.T, target matrix.Target, db *sql.DB) func() error {
		ctx := t.Context()
		d := map[nogap.Dialect]func() schema.Dialect{
			nogap.Postgres: func() schema.Dialect { return pgdialect.New() },
			nogap.MariaDB:  func() schema.Dialect { return mysqldialect.New() },
			nogap.MySQL:    func() schema.Dialect { return mysqldialect.New() },
			nogap.SQLite:   func() schema.Dialect { return sqlitedialect.New() },
		}[target.Dialect]()
		b := bun.NewDB(db, d)
		return func() error {
			return b.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
				var item Item
				if err := tx.NewSelect().Model(&item).Where("id = 1").Scan(ctx); err != nil {
					return err
				}
				item.Stock--
				_, err := tx.NewUpdate().Model(&item).Column("stock").WherePK().Exec(ctx)
				return err
			})
		}
	},
}

func gormBuyer(t *testing.T, target matrix.Target, db *sql.DB, prepare bool) func() error {
	dialector := map[nogap.Dialect]gorm.Dialector{
		nogap.Postgres: postgres.New(postgres.Config{Conn: db}),
		nogap.MariaDB:  mysql.New(mysql.Config{Conn: db}),
		nogap.MySQL:    mysql.New(mysql.Config{Conn: db}),
		nogap.SQLite:   sqlite.New(sqlite.Config{Conn: db}),
	}[target.Dialect]
	g, err := gorm.Open(dialector, &gorm.Config{PrepareStmt: prepare, Logger: logger.Discard})
	require.NoError(t, err)
	if prepared, ok := g.ConnPool.(*gorm.PreparedStmtDB); ok {
		t.Cleanup(prepared.Close)
	}
	return func() error {
		return g.Transaction(func(tx *gorm.DB) error {
			var item Item
			if err := tx.First(&item, 1).Error; err != nil {
				return err
			}
			return tx.Model(&item).Update("stock", item.Stock-1).Error
		})
	}
}

// TestLibraries tests that what a service does with a library is the same steps as with database/sql.
func TestLibraries(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for name, buyer := range buyers {
			t.Run(name, func(t *testing.T) {
				ctl := &steps{}
				db := gated(t, target, target.DSN(t), ctl)
				createItems(t, db)
				buy := buyer(t, target, db)
				for n := range int64(2) {
					ctl.take()
					require.NoError(t, buy())
					var kinds []string
					for _, line := range ctl.take() {
						if kind, _, _ := strings.Cut(line, " "); kind != "" {
							kinds = append(kinds, kind)
						}
					}
					require.Equal(t, []string{"Begin", "Query", "Exec", "Commit"}, kinds)
					var stock int64
					require.NoError(t, db.QueryRow("SELECT stock FROM items").Scan(&stock))
					require.Equal(t, 99-n, stock)
				}
			})
		}
	})
}

func createItems(t *testing.T, db *sql.DB) {
	t.Helper()
	mustExec(t, db, "CREATE TABLE items (id INTEGER PRIMARY KEY, stock INTEGER NOT NULL, version INTEGER NOT NULL)",
		"INSERT INTO items VALUES (1, 100, 1)")
}

// TestNogap tests that nogap's own packages work on wrapped connections, whose drivers they look at.
func TestNogap(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		ctx := t.Context()
		ctl := &steps{}
		db := gated(t, target, target.DSN(t), ctl)
		createItems(t, db)
		row := pessimistic.Row{Table: "items", Key: 1}
		counter, err := atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("version"))
		require.NoError(t, err)
		table, err := optimistic.NewTable[Item](db, "items")
		require.NoError(t, err)
		store, err := idempotency.New[int64](db, "requests")
		require.NoError(t, err)
		mustExec(t, db, store.Schema(target.Dialect))
		undo := errors.New("undo")
		for range 2 {
			_, err = counter.Decrement(ctx, 1, 1)
			require.NoError(t, err)
			_, err = table.Modify(ctx, func(i *Item) error {
				i.Stock--
				return nil
			}, 1)
			require.NoError(t, err)
			require.NoError(t, pessimistic.WithRowLock(ctx, db, row, func(ctx context.Context, tx *sqlx.Tx, i *Item) error {
				_, err := counter.WithTx(tx).Decrement(ctx, 1, 1)
				return err
			}))
			require.ErrorIs(t, transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
				_, err := counter.WithTx(tx).Decrement(ctx, 1, 1)
				return errors.Join(err, undo)
			}), undo)
			_, _, err = store.Do(ctx, "key", func(ctx context.Context, tx *sqlx.Tx) (int64, error) {
				return counter.WithTx(tx).Decrement(ctx, 1, 1)
			})
			require.NoError(t, err)
		}
		var stock int64
		require.NoError(t, db.QueryRow("SELECT stock FROM items").Scan(&stock))
		require.Equal(t, int64(93), stock)
		require.NotEmpty(t, ctl.take())
	})
}
