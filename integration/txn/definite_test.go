//go:build unix

package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/leak"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// A deferred constraint speaks up at COMMIT, or behind the row that an autocommit statement has already returned. It is
// the server's own word, so nothing was written.
func TestDeferredConstraint(t *testing.T) {
	targets := append(matrix.Postgres(), matrix.PgBouncer()...)
	matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		w.exec(t, "UPDATE items SET stock = 1 WHERE id = 2")
		w.exec(t, "ALTER TABLE items ADD CONSTRAINT one_each UNIQUE (stock) DEFERRABLE INITIALLY DEFERRED")
		for _, a := range adders(target) {
			t.Run(a.name, func(t *testing.T) {
				err := a.run(t.Context(), w, w.direct)
				require.True(t, sqlerr.Of(err).Has(sqlerr.Unique), "%v", err)
				require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
				require.Zero(t, w.applied(t))
				requireClean(t, w.direct)
			})
		}
	})
}

// The callback does not notice that its transaction has failed. PostgreSQL answers COMMIT with ROLLBACK, which each
// driver says in its own words.
func TestCommitOfAFailedTransaction(t *testing.T) {
	targets := append(matrix.Postgres(), matrix.PgBouncer()...)
	matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		err := txn.Do(t.Context(), w.direct, nil, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(t.Context(), add)
			require.NoError(t, err)
			_, err = tx.ExecContext(t.Context(), "SELECT 1/0")
			require.Error(t, err)
			return nil
		})
		require.Error(t, err)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.Zero(t, w.applied(t))
		requireClean(t, w.direct)
	})
}

// Of two transactions on two nodes of a cluster one loses, at COMMIT. It can be run again.
func TestCertificationFails(t *testing.T) { matrix.EachCluster(t, testCertificationFails) }

func testCertificationFails(t *testing.T, cluster matrix.Cluster) {
	nodes := cluster.Nodes(t)
	_, err := nodes[0].Exec("CREATE TABLE items (id INT PRIMARY KEY, stock INT NOT NULL)")
	require.NoError(t, err)
	_, err = nodes[0].Exec("INSERT INTO items VALUES (1, 0)")
	require.NoError(t, err)
	cluster.CatchUp(t, nodes[1])

	err = txn.Do(t.Context(), nodes[1], nil, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), add)
		require.NoError(t, err)
		_, err = nodes[0].ExecContext(t.Context(), add)
		require.NoError(t, err)
		return nil
	})
	require.True(t, nogap.Retryable(err), "%v", err)
	require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
	requireClean(t, nodes[1])

	// All who try again get through, and each is counted once.
	const writers = 4
	errs := make(chan error, 2*writers)
	var wg sync.WaitGroup
	for _, node := range nodes {
		for range writers {
			wg.Go(func() {
				errs <- txn.Retry{Policy: txn.Policy{}}.Do(t.Context(), func(int) error {
					return txn.Do(t.Context(), node, nil, func(tx *sql.Tx) error {
						_, err := tx.ExecContext(t.Context(), add)
						return err
					})
				})
			})
		}
	}
	wg.Wait()
	for range 2 * writers {
		require.NoError(t, <-errs)
	}
	for _, node := range nodes {
		cluster.CatchUp(t, node)
		var stock int
		require.NoError(t, node.QueryRow("SELECT stock FROM items WHERE id = 1").Scan(&stock))
		require.Equal(t, 1+2*writers, stock)
		leak.Connections(t, node)
	}
}

// SQLite refuses the COMMIT of a writer while another connection reads, in a file without a write-ahead log. The
// transaction is still open then, and would be the next user's.
func TestBusyCommit(t *testing.T) {
	matrix.Run(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		w.exec(t, "PRAGMA journal_mode = DELETE")
		db := target.Connect(t, w.dsn)
		db.SetMaxOpenConns(1)
		for _, q := range []string{"PRAGMA journal_mode = DELETE", "PRAGMA busy_timeout = 0"} {
			_, err := db.Exec(q)
			require.NoError(t, err)
		}
		reader, err := w.direct.Begin()
		require.NoError(t, err)
		var stock int
		require.NoError(t, reader.QueryRow("SELECT stock FROM items WHERE id = 1").Scan(&stock))

		err = commitAdder.run(t.Context(), w, db)
		require.True(t, sqlerr.Of(err).Has(sqlerr.Retry), "%v", err)
		require.True(t, nogap.Retryable(err))
		require.NoError(t, reader.Rollback())
		requireClean(t, db)
		require.Zero(t, w.applied(t))
		require.NoError(t, commitAdder.run(t.Context(), w, db))
		require.Equal(t, 1, w.applied(t))
	})
}

// In memory, the connection is the database. Nothing that fails or is cancelled may cost it.
func TestInMemoryDatabaseIsKept(t *testing.T) {
	matrix.Run(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
		db, err := sql.Open(target.Driver, ":memory:")
		require.NoError(t, err)
		defer db.Close()
		db.SetMaxOpenConns(1)
		_, err = db.Exec("CREATE TABLE items (id INT PRIMARY KEY, stock INT NOT NULL CHECK (stock < 5))")
		require.NoError(t, err)
		_, err = db.Exec("INSERT INTO items VALUES (1, 0)")
		require.NoError(t, err)
		requireKept := func(t *testing.T) {
			t.Helper()
			var n int
			require.NoError(t, db.QueryRow("SELECT count(*) FROM items").Scan(&n))
			require.Equal(t, 1, n)
			require.Zero(t, db.Stats().InUse)
		}
		// Not endless: mattn's interrupt is lost if it comes before the statement runs.
		slow := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) UPDATE items SET stock = (SELECT count(*) FROM n)"
		for name, run := range map[string]func(ctx context.Context, cancel func()) error{
			"callback's error": func(ctx context.Context, _ func()) error { return rollBack(ctx, db) },
			"callback cancels": func(ctx context.Context, cancel func()) error {
				return txn.Do(ctx, db, nil, func(*sql.Tx) error { cancel(); return nil })
			},
			"cancelled before": func(ctx context.Context, cancel func()) error {
				cancel()
				return txn.Do(ctx, db, nil, func(*sql.Tx) error { return nil })
			},
			"syntax error": func(ctx context.Context, _ func()) error {
				return autocommit(ctx, db, func(c *txn.Conn) error { _, err := c.Exec(ctx, "UPDAT"); return err })
			},
			"constraint": func(ctx context.Context, _ func()) error {
				return autocommit(ctx, db, func(c *txn.Conn) error { _, err := c.Exec(ctx, "UPDATE items SET stock = 9"); return err })
			},
			"value of no use": func(ctx context.Context, _ func()) error {
				return autocommit(ctx, db, func(c *txn.Conn) error {
					_, err := c.Exec(ctx, "UPDATE items SET stock = ?", make(chan int))
					return err
				})
			},
			"missing argument": func(ctx context.Context, _ func()) error {
				return autocommit(ctx, db, func(c *txn.Conn) error {
					_, err := c.Exec(ctx, "UPDATE nowhere SET stock = ?, id = ?", 1)
					return err
				})
			},
			"statement cancelled": func(ctx context.Context, cancel func()) error {
				return autocommit(ctx, db, func(c *txn.Conn) error {
					go cancel()
					_, err := c.Exec(ctx, slow)
					return err
				})
			},
			"statement in a transaction cancelled": func(ctx context.Context, cancel func()) error {
				return txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
					go cancel()
					_, err := tx.ExecContext(ctx, slow)
					return err
				})
			},
			"callback ends the transaction": func(ctx context.Context, _ func()) error {
				return errors.Join(txn.Do(ctx, db, nil, func(tx *sql.Tx) error {
					_, err := tx.ExecContext(ctx, "ROLLBACK")
					return err
				}), errCallback)
			},
		} {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				err := run(ctx, cancel)
				require.Error(t, err)
				t.Log(err)
				requireKept(t)
			})
		}
	})
}

// A server that was killed and started again has left the pool full of dead connections.
func TestServerRestarts(t *testing.T) {
	server := servers.StartPostgres(t)
	for _, driver := range []string{"pgx", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			ctx := t.Context()
			db, err := sql.Open(driver, server.DSN)
			require.NoError(t, err)
			defer db.Close()
			db.SetMaxIdleConns(20)
			_, err = db.Exec("DROP TABLE IF EXISTS items")
			require.NoError(t, err)
			_, err = db.Exec("CREATE TABLE items AS SELECT 1 AS id, 0 AS stock")
			require.NoError(t, err)
			var conns []*sql.Conn
			for range 20 {
				c, err := db.Conn(ctx)
				require.NoError(t, err)
				conns = append(conns, c)
			}
			for _, c := range conns {
				require.NoError(t, c.Close())
			}
			server.Restart(t)
			require.NoError(t, commitAdder.run(ctx, nil, db))
			var stock int
			require.NoError(t, autocommit(ctx, db, func(c *txn.Conn) error {
				return c.Read(ctx, "SELECT stock FROM items", nil, &stock)
			}))
			require.Equal(t, 1, stock)
			leak.Connections(t, db)
		})
	}
}
