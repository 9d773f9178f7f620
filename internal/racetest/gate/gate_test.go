package gate_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/racetest/gate"
)

// recorder writes down what a Controller is asked. refuse and again may be nil.
type recorder struct {
	log    []string
	refuse func(*gate.Statement) error
	again  func(gate.Result) bool
}

func (r *recorder) Before(ctx context.Context, s *gate.Statement) error {
	r.log = append(r.log, strings.TrimSpace(fmt.Sprintf("%v %v %s", s.Kind, s.InTx, s.SQL)))
	if ctx.Err() != nil && (s.Kind == gate.Commit || s.Kind == gate.Rollback) {
		return errors.New("the end of a transaction has a context that ends")
	}
	if r.refuse != nil {
		return r.refuse(s)
	}
	return nil
}

func (r *recorder) After(_ context.Context, _ *gate.Statement, res gate.Result) bool {
	again := r.again != nil && r.again(res)
	r.log = append(r.log, fmt.Sprintf("-> %v %v %v %d %d %v", res.Err, res.Columns, res.Rows, res.Affected, res.LastInsertID, again))
	return again
}

func (r *recorder) take() []string {
	log := r.log
	r.log = nil
	return log
}

// ready answers the question for the number of the session.
func ready(h fakedb.Handler) fakedb.Handler {
	return func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.HasPrefix(c.Query, "SELECT pg_backend_pid") {
			return fakedb.Row(int64(4711)), nil
		}
		return h(ctx, c)
	}
}

func ok(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil }

func open(t *testing.T, c driver.Connector, ctl gate.Controller) *sql.DB {
	t.Helper()
	db := sql.OpenDB(gate.Wrap(c, ctl))
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestStatementThatIsPreparedIsLetThroughOnce(t *testing.T) {
	s := fakedb.New(ready(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Kind == fakedb.Prepare && c.Query == "bad":
			return fakedb.Reply{}, errors.New("no such thing")
		case c.Kind == fakedb.Query:
			return fakedb.Row("x"), nil
		}
		return fakedb.Reply{RowsAffected: 3, LastInsertID: 7}, nil
	}))
	s.Prepares = true
	ctl := &recorder{}
	db := open(t, s, ctl)
	_, err := db.Exec("UPDATE t SET n = ?", 1)
	require.NoError(t, err)
	require.Equal(t, []string{"Exec false UPDATE t SET n = ?", "-> <nil> [] [] 3 7 false"}, ctl.take())
	var v string
	require.NoError(t, db.QueryRow("SELECT v FROM t WHERE n = ?", 1).Scan(&v))
	require.Equal(t, []string{"Query false SELECT v FROM t WHERE n = ?", "-> <nil> [] [[x]] 0 0 false"}, ctl.take())
	_, err = db.Exec("bad", 1)
	require.EqualError(t, err, "no such thing")
	require.Equal(t, []string{"Exec false bad", "-> no such thing [] [] 0 0 false"}, ctl.take())

	p, err := db.Prepare("UPDATE t SET n = ?")
	require.NoError(t, err)
	defer p.Close()
	require.Empty(t, ctl.take(), "PREPARE is no step")
	for range 2 {
		_, err = p.Exec(1)
		require.NoError(t, err)
		require.Len(t, ctl.take(), 2)
	}
}

// TestStatementThatNobodyExecutesEnds tests that the Controller hears of the end of each statement that it has let through.
func TestStatementThatNobodyExecutesEnds(t *testing.T) {
	s := fakedb.New(ready(ok))
	s.Prepares = true
	ctl := &recorder{}
	db := open(t, s, ctl)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.Raw(func(c any) error {
		_, err := c.(driver.QueryerContext).QueryContext(t.Context(), "SELECT ?", []driver.NamedValue{{Ordinal: 1, Value: int64(1)}})
		require.Equal(t, driver.ErrSkip, err)
		return nil
	}))
	_, err = conn.ExecContext(t.Context(), "DELETE FROM t")
	require.NoError(t, err)
	require.Equal(t, []string{
		"Query false SELECT ?", "-> racetest: the statement was not executed [] [] 0 0 false",
		"Exec false DELETE FROM t", "-> <nil> [] [] 0 0 false",
	}, ctl.take())

	// database/sql refuses the argument for the prepared statement, of which it knows more.
	_, err = conn.ExecContext(t.Context(), "UPDATE t SET n = ?", &second{})
	require.ErrorContains(t, err, "not twice")
	require.Equal(t, []string{"Exec false UPDATE t SET n = ?", "-> racetest: the statement was not executed [] [] 0 0 false"}, ctl.take())
}

// second is an argument that has a value only once.
type second struct{ asked bool }

func (s *second) Value() (driver.Value, error) {
	if s.asked {
		return nil, errors.New("not twice")
	}
	s.asked = true
	return int64(1), nil
}

func TestRefusedStatementIsNotSent(t *testing.T) {
	refused := errors.New("refused")
	for _, kind := range []gate.Kind{gate.Begin, gate.Exec, gate.Query, gate.Commit, gate.Rollback} {
		t.Run(kind.String(), func(t *testing.T) {
			s := fakedb.Recorded(ready(ok))
			db := open(t, s, &recorder{refuse: func(st *gate.Statement) error {
				if st.Kind == kind {
					return refused
				}
				return nil
			}})
			err := program(db)
			require.ErrorIs(t, err, refused)
			log := strings.Join(s.Log(), " ")
			switch kind {
			case gate.Commit, gate.Rollback:
				require.Contains(t, log, "ROLLBACK", "the connection is free of its transaction")
			default:
				require.NotContains(t, log, strings.ToUpper(kind.String())+"1")
			}
			require.NotContains(t, log, "COMMIT "+kind.String())
			require.NoError(t, db.Ping())
			require.Zero(t, s.Dirty())
		})
	}
}

// program runs one statement of each kind.
func program(db *sql.DB) (err error) {
	ctx := context.Background()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, notDone(tx.Rollback())) }()
	if _, err := tx.ExecContext(ctx, "EXEC1"); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "QUERY1")
	if err != nil {
		return err
	}
	if err := rows.Close(); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	tx, err = db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	return tx.Rollback()
}

func notDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

func TestRollbackWaitsForNoContext(t *testing.T) {
	s := fakedb.Recorded(ready(ok))
	ctl := &recorder{}
	db := open(t, s, ctl)
	ctx, cancel := context.WithCancel(t.Context())
	tx, err := db.BeginTx(ctx, nil)
	require.NoError(t, err)
	cancel()
	err = tx.Commit() // database/sql may have rolled back by then
	require.True(t, errors.Is(err, context.Canceled) || errors.Is(err, sql.ErrTxDone), "%v", err)
	require.Eventually(t, func() bool { return len(s.Log()) == 3 }, time.Minute, time.Millisecond)
	require.Equal(t, []string{"SELECT pg_backend_pid()", "BEGIN", "ROLLBACK"}, s.Log())
}

func TestStatementIsSentAgain(t *testing.T) {
	busy := errors.New("busy")
	tries := 0
	s := fakedb.New(ready(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind != fakedb.Query {
			return fakedb.Reply{}, nil
		}
		if tries++; tries%3 != 0 {
			return fakedb.Reply{}, busy
		}
		return fakedb.Row("x"), nil
	}))
	ctl := &recorder{again: func(r gate.Result) bool { return errors.Is(r.Err, busy) }}
	db := open(t, s, ctl)
	require.NoError(t, db.QueryRow("SELECT v").Scan(new(string)))
	require.Equal(t, []string{"Query false SELECT v", "-> busy [] [] 0 0 true", "-> busy [] [] 0 0 true", "-> <nil> [] [[x]] 0 0 false"}, ctl.take())
	require.Equal(t, 3, tries)
}

func TestErrorAfterRows(t *testing.T) {
	lost := errors.New("lost")
	s := fakedb.New(ready(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		return fakedb.Reply{Columns: []string{"v"}, Rows: [][]driver.Value{{"x"}, {"y"}}, Err: lost}, nil
	}))
	ctl := &recorder{}
	db := open(t, s, ctl)
	rows, err := db.Query("SELECT v")
	require.NoError(t, err)
	require.Equal(t, []string{"Query false SELECT v", "-> lost [v] [[x] [y]] 0 0 false"}, ctl.take())
	n := 0
	for rows.Next() {
		n++
	}
	require.Equal(t, 2, n)
	require.Equal(t, lost, rows.Err())
	require.NoError(t, rows.Close())
}

func TestTransactionsInText(t *testing.T) {
	ctl := &recorder{}
	db := open(t, fakedb.New(ready(ok)), ctl)
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	for _, q := range []struct{ text, want string }{
		{"begin", "Begin false"},
		{"UPDATE t SET n = 1", "Exec true"},
		{"SAVEPOINT s", "Exec true"},
		{"ROLLBACK TO s", "Exec true"},
		{"rollback work to savepoint s", "Exec true"},
		{"COMMIT;", "Commit true"},
		{"-- so\n/* it */ START TRANSACTION READ ONLY", "Begin false"},
		{"COMMIT AND CHAIN", "Commit true"},
		{"Rollback", "Rollback true"},
		{"BEGIN IMMEDIATE", "Begin false"},
		{"END", "Commit true"},
		{"START SLAVE", "Exec false"},
		{"BEGIN; DELETE FROM t; COMMIT", "Exec false"},
		{"BEGIN NOT ATOMIC DELETE FROM t; END", "Exec false"},
		{"ROLLBACK PREPARED 'x'", "Exec false"},
		{"", "Exec false"},
		{"/* open", "Exec false"},
	} {
		_, err := conn.ExecContext(t.Context(), q.text)
		require.NoError(t, err)
		require.Equal(t, strings.TrimSpace(q.want+" "+q.text), ctl.take()[0])
	}
}

func TestSessionKnowsItsNumber(t *testing.T) {
	for name, c := range map[string]struct {
		question string
		answer   driver.Value
		want     int64
	}{
		"PostgreSQL": {"SELECT pg_backend_pid()", int64(12), 12},
		"text":       {"SELECT CONNECTION_ID()", []byte("13"), 13},
		"unsigned":   {"SELECT CONNECTION_ID()", uint64(14), 14},
		"SQLite":     {"SELECT sqlite_version()", "3.50.0", 0},
		"other":      {"none", nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var got *gate.Session
			db := open(t, fakedb.New(func(_ context.Context, call fakedb.Call) (fakedb.Reply, error) {
				if call.Query == c.question {
					return fakedb.Row(c.answer), nil
				}
				if call.Kind == fakedb.Query && strings.HasPrefix(call.Query, "SELECT ") {
					return fakedb.Reply{}, refusal{}
				}
				return fakedb.Reply{}, nil
			}), &recorder{refuse: func(s *gate.Statement) error {
				got = s.Session
				return nil
			}})
			_, err := db.Exec("DELETE FROM t")
			require.NoError(t, err)
			require.Equal(t, c.want, got.ID())
		})
	}
	t.Run("down", func(t *testing.T) {
		db := open(t, fakedb.New(func(_ context.Context, call fakedb.Call) (fakedb.Reply, error) {
			if call.Kind == fakedb.Query {
				return fakedb.Reply{}, io.ErrUnexpectedEOF
			}
			return fakedb.Reply{}, nil
		}), &recorder{})
		require.ErrorIs(t, db.Ping(), io.ErrUnexpectedEOF)
	})
}

// refusal is a server's error.
type refusal struct{}

func (refusal) Error() string    { return "no such function" }
func (refusal) SQLState() string { return "42883" }

// old is a driver from before contexts.
type old struct{ log []string }

func (o *old) Connect(context.Context) (driver.Conn, error) { return o, nil }
func (o *old) Driver() driver.Driver                        { return o }
func (o *old) Open(string) (driver.Conn, error)             { return o, nil }
func (o *old) Close() error                                 { return nil }
func (o *old) Begin() (driver.Tx, error)                    { return o, nil }
func (o *old) Commit() error                                { return nil }
func (o *old) Rollback() error                              { return nil }
func (o *old) Prepare(query string) (driver.Stmt, error)    { return oldStmt{o, query}, nil }

type oldStmt struct {
	o     *old
	query string
}

func (s oldStmt) Close() error  { return nil }
func (s oldStmt) NumInput() int { return strings.Count(s.query, "?") }
func (s oldStmt) Exec([]driver.Value) (driver.Result, error) {
	s.o.log = append(s.o.log, s.query)
	return driver.RowsAffected(1), nil
}
func (s oldStmt) Query([]driver.Value) (driver.Rows, error) { return nil, refusal{} }
func (s oldStmt) ColumnConverter(int) driver.ValueConverter { return driver.Bool }

func TestOldDriver(t *testing.T) {
	ctx := t.Context()
	ctl := &recorder{}
	raw := sql.OpenDB(&old{})
	defer raw.Close()
	db := open(t, &old{}, ctl)
	for _, opts := range []*sql.TxOptions{{Isolation: sql.LevelSerializable}, {ReadOnly: true}} {
		_, want := raw.BeginTx(ctx, opts)
		_, err := db.BeginTx(ctx, opts)
		require.Error(t, err)
		require.Equal(t, want, err)
	}
	ctl.take()
	for _, args := range [][]any{{1}, {"x"}, {sql.Named("n", 1)}, {}, {1, 2}} {
		_, want := raw.Exec("UPDATE t SET n = ?", args...)
		_, err := db.Exec("UPDATE t SET n = ?", args...)
		require.Equal(t, want, err)
	}
	require.Equal(t, []string{
		"Exec false UPDATE t SET n = ?", "-> <nil> [] [] 1 0 false",
		"Exec false UPDATE t SET n = ?", "-> sql: driver does not support the use of Named Parameters [] [] 0 0 false",
	}, ctl.take())
	tx, err := db.Begin()
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	require.NoError(t, db.Ping())
}

func TestOpen(t *testing.T) {
	_, err := gate.Open("nothing", "dsn")
	require.ErrorContains(t, err, `unknown driver "nothing"`)
}
