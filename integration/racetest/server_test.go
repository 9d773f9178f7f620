//go:build unix

package racetest_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/racetest/server"
)

// lastSession is a Controller that lets everything through and remembers the session of the last statement.
type lastSession struct{ last *gate.Session }

func (l *lastSession) Before(_ context.Context, s *gate.Statement) error {
	l.last = s.Session
	return nil
}

func (l *lastSession) After(context.Context, *gate.Statement, gate.Result) bool { return false }

func openServer(tb testing.TB, target matrix.Target, dsn string) *server.Server {
	tb.Helper()
	c, err := gate.Open(target.Driver, dsn)
	require.NoError(tb, err)
	s, err := server.Open(tb.Context(), c)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, s.Close()) })
	return s
}

// mustExec runs statements that are written for any server.
func mustExec(tb testing.TB, db *sql.DB, statements ...string) {
	tb.Helper()
	for _, s := range statements {
		_, err := db.ExecContext(tb.Context(), s)
		require.NoError(tb, err, s)
	}
}

// TestBlocked tests that a session that waits for a row, and only that one, is seen to wait, for whom, and until when.
func TestBlocked(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if target.Dialect == nogap.SQLite {
			return // nobody waits there: see TestBusy
		}
		ctx := t.Context()
		dsn := target.DSN(t)
		s := openServer(t, target, dsn)
		var holds, waits lastSession
		a, b := gated(t, target, dsn, &holds), gated(t, target, dsn, &waits)
		mustExec(t, a, "CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 0)")
		mustExec(t, b, "UPDATE t SET n = 0 WHERE id = 2")

		tx, err := a.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = tx.ExecContext(ctx, "UPDATE t SET n = n + 1 WHERE id = 1")
		require.NoError(t, err)
		require.Equal(t, server.No, blocked(t, s, holds.last).Answer)
		require.Equal(t, server.No, blocked(t, s, waits.last).Answer)

		done := make(chan error, 1)
		session := waits.last
		go func() {
			_, err := b.ExecContext(ctx, "UPDATE t SET n = n + 1 WHERE id = 1")
			done <- err
		}()
		var w server.Waiting
		require.Eventually(t, func() bool {
			w = blocked(t, s, session)
			return w.Answer == server.Yes
		}, 10*time.Second, time.Millisecond)
		if target.Dialect != nogap.MariaDB { // which does not tell
			require.Equal(t, []int64{holds.last.ID()}, w.By)
		}
		require.Equal(t, server.No, blocked(t, s, holds.last).Answer)
		require.NoError(t, tx.Commit())
		require.NoError(t, <-done)
		require.Equal(t, server.No, blocked(t, s, session).Answer)
	})
}

// TestBlockedByName tests the locks that are no rows': advisory locks and GET_LOCK.
func TestBlockedByName(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		if target.Dialect == nogap.SQLite {
			return
		}
		ctx := t.Context()
		dsn := target.DSN(t)
		s := openServer(t, target, dsn)
		var holds, waits lastSession
		a, b := gated(t, target, dsn, &holds), gated(t, target, dsn, &waits)
		lock, unlock := "SELECT GET_LOCK('racetest', 60)", "SELECT RELEASE_LOCK('racetest')"
		if target.Dialect == nogap.Postgres {
			lock, unlock = "SELECT pg_advisory_lock(1)", "SELECT pg_advisory_unlock(1)"
		}
		mustExec(t, b, "SELECT 1")
		session := waits.last
		conn, err := a.Conn(ctx)
		require.NoError(t, err)
		defer conn.Close()
		_, err = conn.ExecContext(ctx, lock)
		require.NoError(t, err)
		done := make(chan error, 1)
		go func() {
			_, err := b.ExecContext(ctx, lock)
			done <- err
		}()
		require.Eventually(t, func() bool { return blocked(t, s, session).Answer == server.Yes }, 10*time.Second, time.Millisecond)
		_, err = conn.ExecContext(ctx, unlock)
		require.NoError(t, err)
		require.NoError(t, <-done)
		require.Equal(t, server.No, blocked(t, s, session).Answer)
	})
}

// TestBlockedWithoutRights tests that a user who may not look at the server's locks learns that, and not that nobody waits.
func TestBlockedWithoutRights(t *testing.T) {
	matrix.Run(t, append(matrix.MariaDB(), matrix.MySQL()...), func(t *testing.T, target matrix.Target) {
		ctx := t.Context()
		dsn := target.DSN(t)
		config, err := mysql.ParseDSN(dsn)
		require.NoError(t, err)
		root := target.Connect(t, dsn)
		config.User, config.Passwd = "r"+strings.ToLower(rand.Text()), "secret"
		mustExec(t, root, "CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 0)",
			"CREATE USER "+config.User+" IDENTIFIED BY 'secret'", "GRANT ALL ON "+config.DBName+".* TO "+config.User)
		t.Cleanup(func() {
			_, err := root.ExecContext(context.WithoutCancel(ctx), "DROP USER "+config.User)
			require.NoError(t, err)
		})
		dsn = config.FormatDSN()
		s := openServer(t, target, dsn)
		var holds, waits lastSession
		a, b := gated(t, target, dsn, &holds), gated(t, target, dsn, &waits)
		mustExec(t, b, "UPDATE t SET n = 0 WHERE id = 2")
		tx, err := a.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = tx.ExecContext(ctx, "UPDATE t SET n = n + 1 WHERE id = 1")
		require.NoError(t, err)
		session := waits.last
		done := make(chan error, 1)
		go func() {
			_, err := b.ExecContext(ctx, "UPDATE t SET n = n + 1 WHERE id = 1")
			done <- err
		}()
		target.AwaitBlocked(t, root)
		require.Equal(t, server.Unknown, blocked(t, s, session).Answer)
		require.NoError(t, tx.Commit())
		require.NoError(t, <-done)
	})
}

func blocked(tb testing.TB, s *server.Server, session *gate.Session) server.Waiting {
	tb.Helper()
	w, err := s.Blocked(tb.Context(), session)
	require.NoError(tb, err)
	return w
}

// again is a Controller that sends busy statements again as soon as it is told to.
type again struct {
	busy chan struct{} // gets one for each time that a statement found the lock held
	free chan struct{} // closed when it may be tried again
}

func (a *again) Before(context.Context, *gate.Statement) error { return nil }

func (a *again) After(_ context.Context, _ *gate.Statement, r gate.Result) bool {
	if !gate.Busy(r.Err) {
		return false
	}
	a.busy <- struct{}{}
	<-a.free
	return true
}

// TestBusy tests that on SQLite a statement does not wait for the lock, and can be sent again: an UPDATE, a BEGIN IMMEDIATE, and a
// COMMIT that readers keep from the file.
func TestBusy(t *testing.T) {
	for _, target := range matrix.SQLite() {
		t.Run(strings.TrimPrefix(target.Name, "sqlite/"), func(t *testing.T) {
			journal := "file:" + filepath.Join(t.TempDir(), "journal.db")
			for name, dsn := range map[string]string{"WAL": target.DSN(t), "journal": journal} {
				t.Run(name, func(t *testing.T) {
					holder := gated(t, target, dsn, &lastSession{})
					mustExec(t, holder, "CREATE TABLE t (id INT PRIMARY KEY, n INT)", "INSERT INTO t VALUES (1, 0)")
					for what, statements := range map[string][2][]string{
						"UPDATE":          {{"BEGIN IMMEDIATE"}, {"UPDATE t SET n = n + 1"}},
						"BEGIN IMMEDIATE": {{"BEGIN", "UPDATE t SET n = n + 1"}, {"BEGIN IMMEDIATE", "UPDATE t SET n = n + 1", "COMMIT"}},
					} {
						testBusy(t, what, target, dsn, holder, statements[0], "COMMIT", func(ctx context.Context, db *sql.DB) error {
							return onOneConnection(ctx, db, statements[1])
						})
					}
					if name == "WAL" {
						return // there nobody is kept from a COMMIT
					}
					testBusy(t, "COMMIT", target, dsn, holder, []string{"BEGIN", "SELECT * FROM t"}, "COMMIT", func(ctx context.Context, db *sql.DB) error {
						tx, err := db.BeginTx(ctx, nil)
						if err != nil {
							return err
						}
						defer tx.Rollback()
						if _, err := tx.ExecContext(ctx, "UPDATE t SET n = n + 1"); err != nil {
							return err
						}
						return tx.Commit()
					})
				})
			}
		})
	}
}

func testBusy(t *testing.T, what string, target matrix.Target, dsn string, holder *sql.DB, hold []string, release string,
	run func(context.Context, *sql.DB) error) {
	t.Run(what, func(t *testing.T) {
		ctx := t.Context()
		count := func() (n int) {
			require.NoError(t, holder.QueryRowContext(ctx, "SELECT n FROM t").Scan(&n))
			return n
		}
		before := count()
		conn, err := holder.Conn(ctx)
		require.NoError(t, err)
		defer conn.Close()
		for _, s := range hold {
			rows, err := conn.QueryContext(ctx, s)
			require.NoError(t, err)
			for rows.Next() {
			}
			require.NoError(t, rows.Close())
		}
		ctl := &again{make(chan struct{}), make(chan struct{})}
		db := gated(t, target, dsn, ctl)
		done := make(chan error, 1)
		go func() { done <- run(ctx, db) }()
		select {
		case <-ctl.busy:
		case err := <-done:
			require.Fail(t, "it did not find the lock held", "%v", err)
		}
		_, err = conn.ExecContext(ctx, release)
		require.NoError(t, err)
		close(ctl.free)
		require.NoError(t, <-done)
		require.Greater(t, count(), before)
	})
}

func onOneConnection(ctx context.Context, db *sql.DB, statements []string) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// TestSnapshot tests what is told of tables and columns.
func TestSnapshot(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		ctx := t.Context()
		dsn := target.DSN(t)
		s := openServer(t, target, dsn)
		db := target.Connect(t, dsn)
		names, err := s.Tables(ctx)
		require.NoError(t, err)
		require.Empty(t, names)
		mustExec(t, db, map[nogap.Dialect]string{
			nogap.Postgres: "CREATE TABLE orders (id SERIAL PRIMARY KEY, ref VARCHAR(20), made TIMESTAMP DEFAULT CURRENT_TIMESTAMP, token UUID DEFAULT gen_random_uuid(), n INT DEFAULT 1, day VARCHAR(10) DEFAULT 'x(1)')",
			nogap.SQLite:   "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, ref VARCHAR(20), made TIMESTAMP DEFAULT CURRENT_TIMESTAMP, token TEXT DEFAULT (hex(randomblob(8))), n INT DEFAULT 1, day VARCHAR(10) DEFAULT 'x')",
			nogap.MySQL:    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, ref VARCHAR(20), made DATETIME DEFAULT CURRENT_TIMESTAMP, token VARCHAR(36) DEFAULT (uuid()), n INT DEFAULT 1, day VARCHAR(10) DEFAULT 'x(1)')",
			nogap.MariaDB:  "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, ref VARCHAR(20), made DATETIME DEFAULT CURRENT_TIMESTAMP, token VARCHAR(36) DEFAULT (uuid()), n INT DEFAULT 1, day VARCHAR(10) DEFAULT 'x(1)')",
		}[target.Dialect],
			"CREATE TABLE pairs (a VARCHAR(10), b INT, PRIMARY KEY (b, a))",
			"CREATE TABLE loose (a INT, b VARCHAR(10))",
			"INSERT INTO orders (ref) VALUES ('x'), ('y')",
			"INSERT INTO pairs VALUES ('b', 1), ('a', 2), ('a', 1)",
			"INSERT INTO loose VALUES (2, 'b'), (10, 'a'), (2, NULL)")
		names, err = s.Tables(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"loose", "orders", "pairs"}, names)

		state, err := s.Snapshot(ctx, names)
		require.NoError(t, err)
		loose, orders, pairs := state.Tables[0], state.Tables[1], state.Tables[2]
		require.Equal(t, [][]any{{int64(2), nil}, {int64(2), "b"}, {int64(10), "a"}}, loose.Rows)
		require.Empty(t, loose.Key)
		require.Equal(t, [][]any{{"a", int64(1)}, {"b", int64(1)}, {"a", int64(2)}}, pairs.Rows)
		require.Equal(t, []int{1, 0}, pairs.Key)
		require.Equal(t, []int{0}, orders.Key)
		require.Len(t, orders.Rows, 2)
		kinds := map[string]string{}
		for _, c := range orders.Columns {
			switch {
			case c.Counted:
				kinds[c.Name] = "counted"
			case c.Time:
				kinds[c.Name] = "time"
			case c.Made:
				kinds[c.Name] = "made"
			default:
				kinds[c.Name] = ""
			}
		}
		require.Equal(t, map[string]string{"id": "counted", "ref": "", "made": "time", "token": "made", "n": "", "day": ""}, kinds)
		same, err := s.Snapshot(ctx, names)
		require.NoError(t, err)
		require.Equal(t, state, same)

		// Setup may make a table anew, with other columns.
		mustExec(t, db, "DROP TABLE loose", "CREATE TABLE loose (c INT PRIMARY KEY, d INT, e INT)", "INSERT INTO loose VALUES (1, 2, 3)")
		state, err = s.Snapshot(ctx, []string{"loose"})
		require.NoError(t, err)
		require.Equal(t, [][]any{{int64(1), int64(2), int64(3)}}, state.Tables[0].Rows)
		require.Len(t, state.Tables[0].Columns, 3)
		require.Equal(t, []int{0}, state.Tables[0].Key)

		_, err = s.Snapshot(ctx, []string{"nothing"})
		require.ErrorContains(t, err, `there is no table "nothing"`)
		mustExec(t, db, "CREATE TABLE many (n INT)", "INSERT INTO many VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)",
			"INSERT INTO many SELECT a.n FROM many AS a, many AS b, many AS c, many AS d")
		_, err = s.Snapshot(ctx, []string{"many"})
		require.ErrorContains(t, err, "more than 10000 rows")
	})
}

// TestAdvanceSequences tests that generated numbers are others after each move, also if the tables are made anew.
func TestAdvanceSequences(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		ctx := t.Context()
		dsn := target.DSN(t)
		s := openServer(t, target, dsn)
		db := target.Connect(t, dsn)
		create := map[nogap.Dialect]string{
			nogap.Postgres: "CREATE TABLE orders (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ref INT)",
			nogap.SQLite:   "CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, ref INT)",
			nogap.MySQL:    "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, ref INT)",
			nogap.MariaDB:  "CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, ref INT)",
		}[target.Dialect]
		seen := map[any]bool{}
		for i := range 4 {
			mustExec(t, db, "DROP TABLE IF EXISTS orders", "DROP TABLE IF EXISTS plain", create, "CREATE TABLE plain (id INT)")
			if i > 1 { // and if there are rows already
				mustExec(t, db, "INSERT INTO orders (ref) VALUES (0)")
			}
			require.NoError(t, s.AdvanceSequences(ctx, []string{"orders", "plain"}))
			mustExec(t, db, "INSERT INTO orders (ref) VALUES (1), (2)")
			state, err := s.Snapshot(ctx, []string{"orders"})
			require.NoError(t, err)
			rows := state.Tables[0].Rows
			for _, row := range rows[len(rows)-2:] {
				require.False(t, seen[row[0]], "%v again: %v", row[0], rows)
				seen[row[0]] = true
			}
		}
	})
}

// TestRefused tests what can't be explored.
func TestRefused(t *testing.T) {
	for _, target := range matrix.SQLite() {
		dsns := map[string]string{":memory:": "in memory of its own"}
		if target.Driver != "ncruces" { // which has no shared cache
			dsns["file:shared?mode=memory&cache=shared"] = ""
		}
		for dsn, want := range dsns {
			t.Run(target.Name+"/"+dsn, func(t *testing.T) {
				c, err := gate.Open(target.Driver, dsn)
				require.NoError(t, err)
				s, err := server.Open(t.Context(), c)
				if want == "" {
					require.NoError(t, err)
					require.NoError(t, s.Close())
					return
				}
				require.ErrorContains(t, err, want)
			})
		}
	}
	for _, target := range matrix.PgBouncer() {
		t.Run(target.Name, func(t *testing.T) {
			c, err := gate.Open(target.Driver, target.DSN(t))
			require.NoError(t, err)
			_, err = server.Open(t.Context(), c)
			require.ErrorContains(t, err, "PgBouncer")
		})
	}
}
