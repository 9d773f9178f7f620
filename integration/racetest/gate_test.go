//go:build unix

package racetest_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/lib/pq"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/leak"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/racetest/gate"
)

// steps is a Controller that lets everything through and writes it down.
type steps struct {
	mu  sync.Mutex
	log []string
}

func (s *steps) Before(_ context.Context, st *gate.Statement) error {
	s.add("%v %s", st.Kind, st.SQL)
	return nil
}

func (s *steps) After(_ context.Context, _ *gate.Statement, r gate.Result) bool {
	if r.Err != nil {
		s.add("  failed")
	} else {
		s.add("  %d rows", len(r.Rows))
	}
	return false
}

func (s *steps) add(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf(format, args...))
}

// take returns what has been written down since the last time, without SQL.
func (s *steps) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log
	s.log = nil
	return log
}

// gated returns a pool to a database whose statements ctl is asked about.
func gated(tb testing.TB, target matrix.Target, dsn string, ctl gate.Controller) *sql.DB {
	tb.Helper()
	c, err := gate.Open(target.Driver, dsn)
	require.NoError(tb, err)
	return opened(tb, gate.Wrap(c, ctl))
}

func opened(tb testing.TB, c driver.Connector) *sql.DB {
	tb.Helper()
	db := sql.OpenDB(c)
	tb.Cleanup(func() {
		leak.Connections(tb, db)
		require.NoError(tb, db.Close())
	})
	return db
}

// TestConforms runs the same program on a driver and on the wrapper around it. All that a program can see must be the same.
func TestConforms(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		outcomes := map[string][]string{}
		for _, how := range []string{"raw", "wrapped"} {
			dsn := target.DSN(t)
			c, err := gate.Open(target.Driver, dsn)
			require.NoError(t, err)
			if how == "wrapped" {
				c = gate.Wrap(c, &steps{})
			}
			for _, p := range programs {
				w := &witness{db: opened(t, c), dialect: target.Dialect}
				w.add("## %s", p.name)
				p.run(t.Context(), w)
				outcomes[how] = append(outcomes[how], w.log...)
			}
		}
		require.Greater(t, len(outcomes["raw"]), 80)
		require.Equal(t, strings.Join(outcomes["raw"], "\n"), strings.Join(outcomes["wrapped"], "\n"))
	})
}

// witness writes down what a program sees.
type witness struct {
	db      *sql.DB
	dialect nogap.Dialect
	log     []string
}

// randomName is that of a database, which some errors tell.
var randomName = regexp.MustCompile(`nogap_\w+`)

func (w *witness) add(format string, args ...any) {
	w.log = append(w.log, randomName.ReplaceAllString(fmt.Sprintf(format, args...), "nogap"))
}

func (w *witness) failed(err error) {
	types := ""
	for e := err; e != nil; e = errors.Unwrap(e) {
		types += fmt.Sprintf(" %T", e)
	}
	w.add("error %v:%s", err, types)
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func (w *witness) exec(ctx context.Context, on execer, query string, args ...any) {
	w.result(on.ExecContext(ctx, w.bind(query), args...))
}

func (w *witness) result(res sql.Result, err error) {
	if err != nil {
		w.failed(err)
		return
	}
	n, err := res.RowsAffected()
	w.add("affected %d %v", n, err)
	id, err := res.LastInsertId()
	w.add("id %d %v", id, err)
}

func (w *witness) query(ctx context.Context, on queryer, query string, args ...any) {
	w.rows(on.QueryContext(ctx, w.bind(query), args...))
}

func (w *witness) rows(rows *sql.Rows, err error) {
	if err != nil {
		w.failed(err)
		return
	}
	for {
		w.set(rows)
		if !rows.NextResultSet() {
			break
		}
	}
	w.add("end %v %v", rows.Err(), rows.Close())
}

func (w *witness) set(rows *sql.Rows) {
	columns, err := rows.Columns()
	w.add("columns %v %v", columns, err)
	w.types(rows)
	for rows.Next() {
		w.types(rows)
		row := make([]any, len(columns))
		dest := make([]any, len(columns))
		for i := range row {
			dest[i] = &row[i]
		}
		err := rows.Scan(dest...)
		w.add("row %#v %v", row, err)
	}
	w.add("after rows %v", rows.Err())
}

func (w *witness) types(rows *sql.Rows) {
	types, err := rows.ColumnTypes()
	if err != nil {
		w.failed(err)
	}
	for _, c := range types {
		length, hasLength := c.Length()
		precision, scale, decimal := c.DecimalSize()
		nullable, known := c.Nullable()
		w.add("column %s %s %v %v %v %v %v %v %v %v", c.Name(), c.DatabaseTypeName(), c.ScanType(),
			length, hasLength, precision, scale, decimal, nullable, known)
	}
}

// bind writes the placeholders as the dialect has them.
func (w *witness) bind(query string) string {
	if w.dialect != nogap.Postgres {
		return query
	}
	for n := 1; strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", fmt.Sprintf("$%d", n), 1)
	}
	return query
}

var programs = []struct {
	name string
	run  func(context.Context, *witness)
}{
	{"tables", func(ctx context.Context, w *witness) {
		w.exec(ctx, w.db, map[nogap.Dialect]string{
			nogap.Postgres: "CREATE TABLE t (id SERIAL PRIMARY KEY, name VARCHAR(20) UNIQUE, n NUMERIC(10,2), f DOUBLE PRECISION, b BYTEA, d TIMESTAMP, ok BOOLEAN)",
			nogap.SQLite:   "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(20) UNIQUE, n NUMERIC(10,2), f DOUBLE, b BLOB, d TIMESTAMP, ok BOOLEAN)",
			nogap.MySQL:    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) UNIQUE, n DECIMAL(10,2), f DOUBLE, b BLOB, d DATETIME, ok BOOLEAN)",
			nogap.MariaDB:  "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) UNIQUE, n DECIMAL(10,2), f DOUBLE, b BLOB, d DATETIME, ok BOOLEAN)",
		}[w.dialect])
	}},
	{"values", func(ctx context.Context, w *witness) {
		w.exec(ctx, w.db, "INSERT INTO t (name, n, f, b, d, ok) VALUES (?, ?, ?, ?, ?, ?)", "x", "1.50", 2.5, []byte{0, 1, 255}, "2026-01-02 03:04:05", true)
		w.exec(ctx, w.db, "INSERT INTO t (name) VALUES ('y')")
		w.exec(ctx, w.db, "INSERT INTO t (name) VALUES (?)", nil)
		w.query(ctx, w.db, "SELECT * FROM t ORDER BY id")
		w.query(ctx, w.db, "SELECT * FROM t WHERE name = ? ORDER BY id", "x")
		w.query(ctx, w.db, "SELECT count(*), max(name) FROM t")
		w.query(ctx, w.db, "SELECT id FROM t WHERE name = ?", "nobody")
		w.exec(ctx, w.db, "UPDATE t SET f = f + 1 WHERE name IS NOT NULL")
	}},
	{"errors", func(ctx context.Context, w *witness) {
		w.exec(ctx, w.db, "INSERT INTO t (name) VALUES (?)", "x")
		w.exec(ctx, w.db, "INSERT INTO t (name) VALUES ('x')")
		w.exec(ctx, w.db, "nonsense")
		w.exec(ctx, w.db, "nonsense ?", 1)
		w.query(ctx, w.db, "SELECT nothing FROM t")
		w.query(ctx, w.db, "SELECT nothing FROM t WHERE id = ?", 1)
		w.query(ctx, w.db, "SELECT id FROM t WHERE id = ?")
		w.query(ctx, w.db, "SELECT id FROM t WHERE id = ?", 1, 2)
		w.exec(ctx, w.db, "UPDATE t SET f = ? WHERE id = 1", struct{}{})
		w.query(ctx, w.db, "SELECT id FROM t WHERE id = ?", sql.Named("id", 1))
		w.exec(ctx, w.db, "UPDATE t SET f = ? WHERE id = ?", sql.Out{}, 1)
		// The error comes with the second row.
		w.query(ctx, w.db, "SELECT "+map[nogap.Dialect]string{
			nogap.Postgres: "10 / (id - 2)", nogap.SQLite: "abs(-9223372036854775807 - (id = 2))",
			nogap.MySQL: "exp(id * 400)", nogap.MariaDB: "pow(9, id) + 0",
		}[w.dialect]+" FROM t ORDER BY id")
	}},
	{"one row", func(ctx context.Context, w *witness) {
		var name string
		w.add("%v", w.db.QueryRowContext(ctx, "SELECT name FROM t ORDER BY id").Scan(&name))
		w.add("%v", w.db.QueryRowContext(ctx, "SELECT name FROM t WHERE id = -1").Scan(&name))
		w.add("%v", w.db.QueryRowContext(ctx, "SELECT name FROM t WHERE name IS NULL").Scan(&name))
		var raw sql.RawBytes
		rows, err := w.db.QueryContext(ctx, "SELECT name FROM t ORDER BY id")
		if err != nil {
			w.failed(err)
			return
		}
		for rows.Next() {
			w.add("%v %s", rows.Scan(&raw), raw)
		}
		w.add("%v", rows.Close())
	}},
	{"prepared", func(ctx context.Context, w *witness) {
		s, err := w.db.PrepareContext(ctx, w.bind("SELECT id, name FROM t WHERE id > ? ORDER BY id"))
		if err != nil {
			w.failed(err)
			return
		}
		defer s.Close()
		for i := range 2 {
			w.rows(s.QueryContext(ctx, i))
		}
		w.rows(s.QueryContext(ctx))
		w.rows(s.QueryContext(ctx, 1, 2))
		_, err = w.db.PrepareContext(ctx, "nonsense")
		w.failed(err)
		i, err := w.db.PrepareContext(ctx, w.bind("INSERT INTO t (name) VALUES (?)"))
		if err != nil {
			w.failed(err)
			return
		}
		defer i.Close()
		w.result(i.ExecContext(ctx, "p"))
		w.result(i.ExecContext(ctx, "p"))
		w.result(i.ExecContext(ctx, struct{}{}))
	}},
	{"transactions", func(ctx context.Context, w *witness) {
		for _, level := range []sql.IsolationLevel{sql.LevelDefault, sql.LevelReadUncommitted, sql.LevelReadCommitted, sql.LevelWriteCommitted,
			sql.LevelRepeatableRead, sql.LevelSnapshot, sql.LevelSerializable, sql.LevelLinearizable} {
			for _, readOnly := range []bool{false, true} {
				w.add("# %v %v", level, readOnly)
				tx, err := w.db.BeginTx(ctx, &sql.TxOptions{Isolation: level, ReadOnly: readOnly})
				if err != nil {
					w.failed(err)
					continue
				}
				w.query(ctx, tx, "SELECT name FROM t WHERE id = ?", 1)
				w.exec(ctx, tx, "UPDATE t SET f = f + ? WHERE id = 1", 1)
				w.add("%v", tx.Commit())
				w.add("%v", tx.Rollback())
			}
		}
		tx, err := w.db.BeginTx(ctx, nil)
		if err != nil {
			w.failed(err)
			return
		}
		s, err := tx.PrepareContext(ctx, w.bind("UPDATE t SET f = 0 WHERE id = ?"))
		w.add("%v", err)
		w.result(s.ExecContext(ctx, 1))
		w.exec(ctx, tx, "INSERT INTO t (name) VALUES ('x')")
		w.query(ctx, tx, "SELECT f FROM t WHERE id = 1")
		w.add("%v", tx.Rollback())
		w.query(ctx, w.db, "SELECT f FROM t WHERE id = 1")
	}},
	{"failing commit", func(ctx context.Context, w *witness) {
		if w.dialect != nogap.SQLite && w.dialect != nogap.Postgres {
			return
		}
		conn, err := w.db.Conn(ctx)
		if err != nil {
			w.failed(err)
			return
		}
		defer conn.Close()
		if w.dialect == nogap.SQLite {
			w.exec(ctx, conn, "PRAGMA foreign_keys = ON")
		}
		w.exec(ctx, conn, "CREATE TABLE c (id INT, t INT REFERENCES t(id) DEFERRABLE INITIALLY DEFERRED)")
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			w.failed(err)
			return
		}
		w.exec(ctx, tx, "INSERT INTO c VALUES (1, 4711)")
		w.failed(tx.Commit())
		w.query(ctx, conn, "SELECT count(*) FROM c")
		w.exec(ctx, conn, "INSERT INTO c VALUES (1, NULL)")
		var id int // is there before the statement fails
		w.failed(conn.QueryRowContext(ctx, "INSERT INTO c VALUES (2, 4711) RETURNING id").Scan(&id))
		w.query(ctx, conn, "INSERT INTO c VALUES (2, 4711) RETURNING id")
		w.query(ctx, conn, "SELECT count(*) FROM c")
	}},
	{"ended contexts", func(ctx context.Context, w *witness) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		w.exec(ended, w.db, "UPDATE t SET f = 0")
		w.query(ended, w.db, "SELECT id FROM t")
		_, err := w.db.PrepareContext(ended, "SELECT id FROM t")
		w.failed(err)
		_, err = w.db.BeginTx(ended, nil)
		w.failed(err)
		tctx, cancel := context.WithCancel(ctx)
		defer cancel()
		tx, err := w.db.BeginTx(tctx, nil)
		if err != nil {
			w.failed(err)
			return
		}
		w.exec(tctx, tx, "UPDATE t SET f = 99")
		cancel()
		for w.db.Stats().InUse > 0 { // until then COMMIT may say one thing or the other
		}
		w.failed(tx.Commit())
		// lib/pq closes the connection of such a transaction unless the pool, which sees the same end, has sent ROLLBACK before.
		if _, byChance := w.db.Driver().(*pq.Driver); !byChance {
			w.add("%d connections", w.db.Stats().OpenConnections)
		}
		w.query(ctx, w.db, "SELECT count(*) FROM t WHERE f = 99")
	}},
	{"connections", func(ctx context.Context, w *witness) {
		w.add("%v", w.db.PingContext(ctx))
		w.add("%T", w.db.Driver())
		conn, err := w.db.Conn(ctx)
		if err != nil {
			w.failed(err)
			return
		}
		w.query(ctx, conn, "SELECT 1")
		w.add("%v", conn.Raw(func(c any) error {
			if r, ok := c.(interface{ Raw() driver.Conn }); ok {
				c = r.Raw()
			}
			w.add("%T", c)
			return driver.ErrBadConn
		}))
		w.add("%v", conn.Close())
		w.add("%d connections", w.db.Stats().OpenConnections)
	}},
	{"result sets", func(ctx context.Context, w *witness) {
		w.query(ctx, w.db, "SELECT 1 AS a; SELECT 2 AS b, 3 AS c")
		w.exec(ctx, w.db, "UPDATE t SET f = 0 WHERE id = 1; UPDATE t SET f = 0 WHERE id = 2")
	}},
}

// TestInterfaces tests that what changes the pool's behaviour by being there is there if the driver has it.
func TestInterfaces(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		c, err := gate.Open(target.Driver, target.DSN(t))
		require.NoError(t, err)
		raw, err := c.Connect(t.Context())
		require.NoError(t, err)
		defer raw.Close()
		wrapped, err := gate.Wrap(c, &steps{}).Connect(t.Context())
		require.NoError(t, err)
		defer wrapped.Close()
		for _, i := range []reflect.Type{reflect.TypeFor[driver.Validator](), reflect.TypeFor[driver.SessionResetter]()} {
			require.Equal(t, reflect.TypeOf(raw).Implements(i), reflect.TypeOf(wrapped).Implements(i), i)
		}
		require.Equal(t, reflect.TypeOf(c.Driver()), reflect.TypeOf(gate.Wrap(c, &steps{}).Driver()))
	})
}

// TestEachStatementIsOneStep tests that a statement is let through once, also if the driver wants it prepared first.
func TestEachStatementIsOneStep(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		ctx := t.Context()
		ctl := &steps{}
		db := gated(t, target, target.DSN(t), ctl)
		w := &witness{db: db, dialect: target.Dialect}
		expect := func(lines ...string) {
			t.Helper()
			require.Equal(t, lines, ctl.take())
		}
		require.NoError(t, db.Ping())
		expect()
		_, err := db.ExecContext(ctx, "CREATE TABLE t (id INT)")
		require.NoError(t, err)
		expect("Exec CREATE TABLE t (id INT)", "  0 rows")
		insert := w.bind("INSERT INTO t VALUES (?)")
		_, err = db.ExecContext(ctx, insert, 1)
		require.NoError(t, err)
		expect("Exec "+insert, "  0 rows")
		byID := w.bind("SELECT id FROM t WHERE id = ?")
		w.query(ctx, db, byID, 1)
		expect("Query "+byID, "  1 rows")
		w.query(ctx, db, "SELECT id FROM t")
		expect("Query SELECT id FROM t", "  1 rows")
		_, err = db.QueryContext(ctx, w.bind("SELECT nothing FROM t WHERE id = ?"), 1)
		require.Error(t, err)
		_ = ctl.take() // SQLite finds it while it prepares the statement, which is no step

		s, err := db.PrepareContext(ctx, insert)
		require.NoError(t, err)
		expect()
		_, err = s.ExecContext(ctx, 2)
		require.NoError(t, err)
		expect("Exec "+insert, "  0 rows")
		require.NoError(t, s.Close())

		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		expect("Begin ", "  0 rows")
		_, err = tx.ExecContext(ctx, insert, 3)
		require.NoError(t, err)
		expect("Exec "+insert, "  0 rows")
		require.NoError(t, tx.Commit())
		expect("Commit ", "  0 rows")
		require.ErrorIs(t, tx.Rollback(), sql.ErrTxDone)
		expect()
		tx, err = db.BeginTx(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, tx.Rollback())
		expect("Begin ", "  0 rows", "Rollback ", "  0 rows")

		conn, err := db.Conn(ctx)
		require.NoError(t, err)
		defer conn.Close()
		for _, sql := range []string{"BEGIN", insert[:len("INSERT INTO t VALUES (")] + "4)", "ROLLBACK"} {
			_, err = conn.ExecContext(ctx, sql)
			require.NoError(t, err)
		}
		expect("Begin BEGIN", "  0 rows", "Exec INSERT INTO t VALUES (4)", "  0 rows", "Rollback ROLLBACK", "  0 rows")
	})
}
