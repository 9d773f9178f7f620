//go:build unix

// Package sqlerr_test provokes the errors of real servers, so that what package sqlerr knows by their shapes is checked
// with the values that the drivers return.
package sqlerr_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/XSAM/otelsql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

func TestMain(m *testing.M) { servers.Main(m) }

// world is a database with a table of two rows, and two connections to it.
type world struct {
	matrix.Target
	db, wrapped *sql.DB // wrapped by otelsql
	a, b        *sql.Conn
}

func newWorld(t *testing.T, target matrix.Target) *world {
	t.Helper()
	dsn := target.DSN(t)
	w := &world{Target: target, db: target.Connect(t, dsn)}
	_, err := w.db.Exec("CREATE TABLE items (id INT NOT NULL, stock INT NOT NULL, name VARCHAR(20), " +
		"PRIMARY KEY (id), CONSTRAINT names UNIQUE (name), CONSTRAINT enough CHECK (stock >= 0))")
	require.NoError(t, err)
	_, err = w.db.Exec("INSERT INTO items VALUES (1, 5, 'one'), (2, 5, 'two')")
	require.NoError(t, err)
	w.wrapped, err = otelsql.Open(target.Driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { w.wrapped.Close() })
	w.a, w.b = w.conn(t), w.conn(t)
	return w
}

func (w *world) conn(t *testing.T) *sql.Conn {
	t.Helper()
	c, err := w.db.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func do(t *testing.T, c *sql.Conn, queries ...string) {
	t.Helper()
	for _, q := range queries {
		_, err := c.ExecContext(t.Context(), q)
		require.NoError(t, err, q)
	}
}

func fail(t *testing.T, c *sql.Conn, query string) error {
	t.Helper()
	_, err := c.ExecContext(t.Context(), query)
	require.Error(t, err, query)
	return err
}

// requireMeaning checks what an error means, also wrapped as callers and packages wrap errors.
func requireMeaning(t *testing.T, want sqlerr.Meaning, err error) {
	t.Helper()
	require.Equal(t, want, sqlerr.Of(err), "%T %v", err, err)
	require.Equal(t, want, sqlerr.Of(fmt.Errorf("decrement: %w", err)))
	require.Equal(t, want, sqlerr.Of(errors.Join(errors.New("first"), fmt.Errorf("%w: %w", context.Canceled, err))))
}

// What one statement is refused for. 0: the server refuses it for a reason that nogap has no word for.
func TestRefused(t *testing.T) {
	common := map[string]sqlerr.Meaning{
		"INSERT INTO items VALUES (1, 1, 'three')": sqlerr.Unique,
		"INSERT INTO items VALUES (3, 1, 'one')":   sqlerr.Unique,
		"UPDATE items SET stock = stock - 6":       sqlerr.Check,
		"UPDATE items SET name = NULL, id = NULL":  sqlerr.NoDefault,
		"UPDATE nowhere SET stock = 1":             0,
		"UPDAT":                                    0,
	}
	own := map[nogap.Dialect]map[string]sqlerr.Meaning{
		nogap.Postgres: {
			"UPDATE items SET stock = stock + 2147483647":                    sqlerr.OutOfRange,
			"INSERT INTO items VALUES (4, 99999999999, 'four')":              sqlerr.OutOfRange,
			"INSERT INTO items VALUES (1, 1) ON CONFLICT (stock) DO NOTHING": sqlerr.NoArbiter,
		},
		nogap.MariaDB: {
			"UPDATE items SET stock = stock + 2147483647":                                                sqlerr.OutOfRange, // 1264
			"UPDATE items SET stock = CAST(0 AS UNSIGNED) - stock":                                       sqlerr.OutOfRange, // 1690
			"SET STATEMENT max_statement_time = 0.01 FOR SELECT sleep(30), 1":                            sqlerr.Canceled,
			"SET STATEMENT max_statement_time = 0.01 FOR UPDATE items SET stock = 6 WHERE sleep(30) = 0": sqlerr.Canceled,
		},
		nogap.MySQL: {
			"UPDATE items SET stock = stock + 2147483647":          sqlerr.OutOfRange,
			"UPDATE items SET stock = CAST(0 AS UNSIGNED) - stock": sqlerr.OutOfRange,
		},
		nogap.SQLite: {
			"INSERT INTO items VALUES (1, 1, 'x') ON CONFLICT (stock) DO NOTHING": 0, // SQLITE_ERROR, like a syntax error
		},
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		for _, statements := range []map[string]sqlerr.Meaning{common, own[target.Dialect]} {
			for query, want := range statements {
				for _, db := range []*sql.DB{w.db, w.wrapped} {
					_, err := db.Exec(query)
					require.Error(t, err, query)
					requireMeaning(t, sqlerr.Server|want, err)
				}
			}
		}
	})
}

func TestDeadlock(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		var errs [2]error
		done := make(chan int, 2)
		for _, c := range []*sql.Conn{w.a, w.b} {
			do(t, c, "BEGIN")
		}
		do(t, w.a, "UPDATE items SET stock = 4 WHERE id = 1")
		do(t, w.b, "UPDATE items SET stock = 4 WHERE id = 2")
		for i, c := range []*sql.Conn{w.a, w.b} {
			go func() {
				_, errs[i] = c.ExecContext(context.Background(), "UPDATE items SET stock = 3 WHERE id = "+strconv.Itoa(2-i))
				if errs[i] != nil {
					c.ExecContext(context.Background(), "ROLLBACK")
				}
				done <- i
			}()
		}
		<-done
		<-done
		loser := errs[0]
		if loser == nil {
			loser = errs[1]
		}
		requireMeaning(t, sqlerr.Server|sqlerr.Retry|sqlerr.Deadlock, loser)
		do(t, w.a, "ROLLBACK")
		do(t, w.b, "ROLLBACK")
	})
}

func TestPostgres(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		pid := func(c *sql.Conn) (pid int) {
			require.NoError(t, c.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid))
			return pid
		}
		// sleeping starts a statement on b that ends only by force, and returns its error.
		sleeping := func(w *world, end string) error {
			id := strconv.Itoa(pid(w.b))
			result := make(chan error, 1)
			go func() {
				_, err := w.b.ExecContext(context.Background(), "UPDATE items SET stock = 1 WHERE pg_sleep(60) IS NOT NULL")
				result <- err
			}()
			require.Eventually(t, func() bool {
				var state string
				query := "SELECT coalesce(wait_event, '') FROM pg_stat_activity WHERE pid = " + id
				require.NoError(t, w.a.QueryRowContext(t.Context(), query).Scan(&state))
				return state == "PgSleep"
			}, 10*time.Second, time.Millisecond)
			do(t, w.a, "SELECT "+end+"("+id+")")
			return <-result
		}
		t.Run("serialization failure", func(t *testing.T) {
			w := newWorld(t, target)
			for _, c := range []*sql.Conn{w.a, w.b} {
				do(t, c, "BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT * FROM items")
			}
			do(t, w.a, "UPDATE items SET stock = 4 WHERE id = 1", "COMMIT")
			err := fail(t, w.b, "UPDATE items SET stock = 4 WHERE id = 1")
			requireMeaning(t, sqlerr.Server|sqlerr.Retry, err)
			requireMeaning(t, sqlerr.Server|sqlerr.Aborted, fail(t, w.b, "SELECT 1"))
			do(t, w.b, "ROLLBACK")
		})
		t.Run("serialization failure at COMMIT", func(t *testing.T) {
			w := newWorld(t, target)
			for _, c := range []*sql.Conn{w.a, w.b} {
				do(t, c, "BEGIN ISOLATION LEVEL SERIALIZABLE", "SELECT sum(stock) FROM items")
			}
			do(t, w.a, "UPDATE items SET stock = 0 WHERE id = 1")
			do(t, w.b, "UPDATE items SET stock = 0 WHERE id = 2")
			do(t, w.a, "COMMIT")
			requireMeaning(t, sqlerr.Server|sqlerr.Retry, fail(t, w.b, "COMMIT"))
		})
		t.Run("row is locked", func(t *testing.T) {
			w := newWorld(t, target)
			do(t, w.a, "BEGIN", "UPDATE items SET stock = 4 WHERE id = 1")
			requireMeaning(t, sqlerr.Server|sqlerr.LockBusy, fail(t, w.b, "SELECT * FROM items FOR UPDATE NOWAIT"))
			do(t, w.b, "SET lock_timeout = '10ms'")
			requireMeaning(t, sqlerr.Server|sqlerr.LockBusy, fail(t, w.b, "UPDATE items SET stock = 3 WHERE id = 1"))
			do(t, w.a, "ROLLBACK")
		})
		t.Run("statement timeout", func(t *testing.T) {
			w := newWorld(t, target)
			do(t, w.b, "SET statement_timeout = '10ms'")
			requireMeaning(t, sqlerr.Server|sqlerr.Canceled, fail(t, w.b, "SELECT pg_sleep(60)"))
			do(t, w.b, "SET statement_timeout = 0")
		})
		t.Run("cancelled", func(t *testing.T) {
			requireMeaning(t, sqlerr.Server|sqlerr.Canceled, sleeping(newWorld(t, target), "pg_cancel_backend"))
		})
		t.Run("terminated", func(t *testing.T) {
			err := sleeping(newWorld(t, target), "pg_terminate_backend")
			if target.Driver == "pgx" {
				requireMeaning(t, sqlerr.Server|sqlerr.Ambiguous|sqlerr.Interrupted, err)
			} else {
				requireMeaning(t, 0, err) // lib/pq makes driver.ErrBadConn of it
			}
		})
		t.Run("idle for too long in a transaction", func(t *testing.T) {
			w := newWorld(t, target)
			id := pid(w.b)
			do(t, w.b, "SET idle_in_transaction_session_timeout = '10ms'", "BEGIN")
			require.Eventually(t, func() bool {
				var n int
				query := "SELECT count(*) FROM pg_stat_activity WHERE pid = " + strconv.Itoa(id)
				require.NoError(t, w.a.QueryRowContext(t.Context(), query).Scan(&n))
				return n == 0
			}, 10*time.Second, time.Millisecond)
			err := fail(t, w.b, "COMMIT")
			// Which of the two comes first is up to the network: the server's word, or the end of the connection.
			require.Contains(t, []sqlerr.Meaning{sqlerr.Server, 0}, sqlerr.Of(err), "%T %v", err, err)
		})
	})
}

func TestMySQL(t *testing.T) {
	matrix.Run(t, append(matrix.MariaDB(), matrix.MySQL()...), func(t *testing.T, target matrix.Target) {
		t.Run("row is locked", func(t *testing.T) {
			w := newWorld(t, target)
			do(t, w.a, "BEGIN", "UPDATE items SET stock = 4 WHERE id = 1")
			requireMeaning(t, sqlerr.Server|sqlerr.LockBusy, fail(t, w.b, "SELECT * FROM items FOR UPDATE NOWAIT"))
			do(t, w.b, "SET innodb_lock_wait_timeout = 1")
			requireMeaning(t, sqlerr.Server|sqlerr.LockBusy, fail(t, w.b, "UPDATE items SET stock = 3 WHERE id = 1"))
			do(t, w.a, "ROLLBACK")
		})
		for _, kill := range []string{"KILL QUERY", "KILL"} {
			t.Run(kill, func(t *testing.T) {
				w := newWorld(t, target)
				var id int
				require.NoError(t, w.b.QueryRowContext(t.Context(), "SELECT connection_id()").Scan(&id))
				do(t, w.a, "BEGIN", "UPDATE items SET stock = 4 WHERE id = 1")
				result := make(chan error, 1)
				go func() {
					_, err := w.b.ExecContext(context.Background(), "UPDATE items SET stock = 3 WHERE id = 1")
					result <- err
				}()
				require.Eventually(t, func() bool {
					var n int
					query := "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'UPDATE items%' AND id = " + strconv.Itoa(id)
					require.NoError(t, w.a.QueryRowContext(t.Context(), query).Scan(&n))
					return n == 1
				}, 10*time.Second, time.Millisecond)
				do(t, w.a, kill+" "+strconv.Itoa(id))
				err := <-result
				if kill == "KILL QUERY" {
					requireMeaning(t, sqlerr.Server|sqlerr.Canceled, err)
				} else {
					// 1927 of MariaDB, 1053 or the end of the connection: none says that the statement was undone.
					require.Contains(t, []sqlerr.Meaning{sqlerr.Server | sqlerr.Ambiguous, 0}, sqlerr.Of(err), "%T %v", err, err)
				}
				do(t, w.a, "ROLLBACK")
			})
		}
	})
}

// MariaDB that keeps a snapshot honest refuses to change what has changed since: the default from 11.6.2 on.
func TestMariaDBSnapshotIsolation(t *testing.T) {
	matrix.Run(t, matrix.MariaDB(), func(t *testing.T, target matrix.Target) {
		w := newWorld(t, target)
		var n int
		query := "SELECT count(*) FROM information_schema.system_variables WHERE variable_name = 'INNODB_SNAPSHOT_ISOLATION'"
		require.NoError(t, w.a.QueryRowContext(t.Context(), query).Scan(&n))
		if n == 0 {
			t.Log("this server is too old to have it")
			return
		}
		do(t, w.b, "SET innodb_snapshot_isolation = ON", "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
			"START TRANSACTION WITH CONSISTENT SNAPSHOT", "SELECT * FROM items")
		do(t, w.a, "UPDATE items SET stock = 4 WHERE id = 1")
		err := fail(t, w.b, "UPDATE items SET stock = stock - 1 WHERE id = 1")
		require.ErrorContains(t, err, "1020")
		requireMeaning(t, sqlerr.Server|sqlerr.Retry, err)
		do(t, w.b, "ROLLBACK")
	})
}

func TestSQLite(t *testing.T) {
	matrix.Run(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
		t.Run("rowid", func(t *testing.T) {
			w := newWorld(t, target)
			do(t, w.a, "INSERT INTO items (rowid, id, stock) VALUES (9, 9, 9)")
			requireMeaning(t, sqlerr.Server|sqlerr.Unique, fail(t, w.a, "INSERT INTO items (rowid, id, stock) VALUES (9, 10, 9)"))
		})
		t.Run("busy", func(t *testing.T) {
			w := newWorld(t, target)
			do(t, w.a, "BEGIN IMMEDIATE")
			do(t, w.b, "PRAGMA busy_timeout = 0")
			requireMeaning(t, sqlerr.Server|sqlerr.Retry|sqlerr.LockBusy, fail(t, w.b, "UPDATE items SET stock = 4"))
			requireMeaning(t, sqlerr.Server|sqlerr.Retry|sqlerr.LockBusy, fail(t, w.b, "BEGIN IMMEDIATE"))
			do(t, w.a, "ROLLBACK")
		})
		t.Run("stale snapshot", func(t *testing.T) {
			w := newWorld(t, target)
			do(t, w.b, "BEGIN")
			var n int
			require.NoError(t, w.b.QueryRowContext(t.Context(), "SELECT count(*) FROM items").Scan(&n))
			do(t, w.a, "UPDATE items SET stock = 4")
			requireMeaning(t, sqlerr.Server|sqlerr.Retry, fail(t, w.b, "UPDATE items SET stock = 3"))
			do(t, w.b, "ROLLBACK")
		})
		t.Run("locked by itself", func(t *testing.T) {
			w := newWorld(t, target)
			rows, err := w.a.QueryContext(t.Context(), "SELECT id FROM items")
			require.NoError(t, err)
			require.True(t, rows.Next())
			requireMeaning(t, sqlerr.Server|sqlerr.Retry|sqlerr.LockBusy|sqlerr.AtOnce, fail(t, w.a, "DROP TABLE items"))
			require.NoError(t, rows.Close())
		})
		t.Run("read-only", func(t *testing.T) {
			w := newWorld(t, target)
			do(t, w.a, "PRAGMA query_only = 1")
			requireMeaning(t, sqlerr.Server, fail(t, w.a, "UPDATE items SET stock = 4"))
			do(t, w.a, "PRAGMA query_only = 0")
		})
	})
}
