//go:build unix

package stack

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// newDatabase makes a database of this test alone on a server, and returns its name.
func newDatabase(t *testing.T, driver, server, force string) string {
	t.Helper()
	admin, err := sql.Open(driver, server)
	require.NoError(t, err)
	name := "stack_" + strings.ToLower(rand.Text())
	_, err = admin.Exec("CREATE DATABASE " + name)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := admin.Exec("DROP DATABASE " + name + force)
		require.NoError(t, errors.Join(err, admin.Close()))
	})
	return name
}

// postgresDSN returns that of an empty database of PostgreSQL: behind PgBouncer, if that is the server.
func postgresDSN(t *testing.T, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	require.NoError(t, err)
	u.Path = "/" + newDatabase(t, "pgx", servers.Postgres(t), " WITH (FORCE)") // PgBouncer keeps connections
	return u.String()
}

// requireStock tests a *sql.DB by itself.
func requireStock(t *testing.T, db *sql.DB) {
	t.Helper()
	left, err := newStock(t, db).Decrement(t.Context(), 2, "pen")
	require.NoError(t, err)
	require.EqualValues(t, 3, left)
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(string) (*sql.DB, error){"pgx": openPgx, "pq": openPq} {
		t.Run(name, func(t *testing.T) {
			db, err := open(postgresDSN(t, servers.Postgres(t)))
			require.NoError(t, err)
			requireStock(t, setUp(t, db))
		})
	}
}

func TestPgxpool(t *testing.T) {
	t.Parallel()
	pool, db, err := openPgxpool(t.Context(), postgresDSN(t, servers.Postgres(t)))
	require.NoError(t, err)
	t.Cleanup(pool.Close) // after db
	requireStock(t, setUp(t, db))
	var left int64
	require.NoError(t, pool.QueryRow(t.Context(), "SELECT stock FROM items").Scan(&left))
	require.EqualValues(t, 3, left)
}

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	for _, driver := range []string{"pgx", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			db, err := openPgBouncer(driver, postgresDSN(t, servers.PgBouncer(t)))
			require.NoError(t, err)
			requireStock(t, setUp(t, db))
		})
	}
}

func TestMySQL(t *testing.T) {
	t.Parallel()
	server, err := mysql.ParseDSN(servers.MariaDB(t))
	require.NoError(t, err)
	db, err := openMySQL(server.Addr, server.User, server.Passwd, newDatabase(t, "mysql", servers.MariaDB(t), ""))
	require.NoError(t, err)
	requireStock(t, setUp(t, db))
}

// openGORM is what a service with GORM has.
func openGORM(t *testing.T) *gorm.DB {
	t.Helper()
	g, err := gorm.Open(postgres.Open(postgresDSN(t, servers.Postgres(t))), &gorm.Config{Logger: logger.Discard})
	require.NoError(t, err)
	return g
}

func TestGORM(t *testing.T) {
	t.Parallel()
	for name, nogapInGORM := range map[string]bool{"GORM in nogap": false, "nogap in GORM": true} {
		t.Run(name, func(t *testing.T) {
			g := openGORM(t)
			db, stock, err := newGORMStock(g)
			require.NoError(t, err)
			setUp(t, db)
			requireSales(t, db, func(ctx context.Context, o Order) error {
				if nogapInGORM {
					return sellInGORM(ctx, g, stock, o)
				}
				return sellWithGORM(ctx, g, db, stock, o)
			})
			_, err = stock.WithTx(g.ConnPool).Decrement(t.Context(), 1, "pen")
			require.ErrorContains(t, err, "is a pool")
		})
	}
}

// Preloads, hooks and nested transactions of GORM stay in the transaction of nogap, too.
func TestGORMInTransaction(t *testing.T) {
	t.Parallel()
	g := openGORM(t)
	db, stock, err := newGORMStock(g)
	require.NoError(t, err)
	setUp(t, db)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	inTx := gormIn(t.Context(), g, tx)
	require.NoError(t, inTx.Transaction(func(nested *gorm.DB) error {
		return nested.Create(&Order{ID: 1, SKU: "pen", Quantity: 1}).Error
	}))
	require.NoError(t, inTx.First(&Order{}, 1).Error)
	require.ErrorIs(t, g.First(&Order{}, 1).Error, gorm.ErrRecordNotFound, "it is not committed, and g is what it was")
	_, err = stock.WithTx(tx).Decrement(t.Context(), 1, "pen")
	require.NoError(t, err)
}

// What looks like a lock of GORM is none.
func TestGORMLock(t *testing.T) {
	t.Parallel()
	g := openGORM(t)
	db, err := g.DB()
	require.NoError(t, err)
	setUp(t, db)
	for name, lock := range map[string]struct {
		read  func(tx *gorm.DB) error
		locks bool
	}{
		"gorm:query_option": {func(tx *gorm.DB) error { _, err := readUnlocked(tx, "pen"); return err }, false},
		"clause.Locking":    {func(tx *gorm.DB) error { _, err := readLocked(tx, "pen"); return err }, true},
		"nogap":             {func(tx *gorm.DB) error { _, err := readLockedByNogap(t.Context(), tx, "pen"); return err }, true},
	} {
		require.NoError(t, g.Transaction(func(tx *gorm.DB) error {
			require.NoError(t, lock.read(tx))
			_, err := db.Exec("SELECT FROM items WHERE id = 'pen' FOR UPDATE NOWAIT")
			require.Equal(t, lock.locks, err != nil, name)
			return nil
		}))
	}
	require.NoError(t, sellLocked(t.Context(), g, db, Order{ID: 1, SKU: "pen", Quantity: 4}))
	require.ErrorIs(t, sellLocked(t.Context(), g, db, Order{ID: 2, SKU: "pen", Quantity: 4}), errSoldOut)
	item, err := readLocked(g, "pen")
	require.NoError(t, err)
	require.EqualValues(t, 1, item.Stock)
}

func TestSqlc(t *testing.T) {
	t.Parallel()
	for name, sell := range map[string]func(context.Context, *sql.DB, *atomic.Counter[int64], Order) error{
		"sqlc in nogap": sellWithSqlc, "nogap beside sqlc": sellInSqlc, "nogap beside sqlc with pgx": sellInSqlcPgx,
	} {
		t.Run(name, func(t *testing.T) {
			db, err := openPgx(postgresDSN(t, servers.Postgres(t)))
			require.NoError(t, err)
			setUp(t, db)
			stock := newStock(t, db)
			requireSales(t, db, func(ctx context.Context, o Order) error { return sell(ctx, db, stock, o) })
		})
	}
}
