// Package fakedb is a database/sql driver whose server is a Go function, for unit tests and for runnable examples:
// the function sees each call that database/sql makes of a driver and answers it, or fails it at any point.
package fakedb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nogap-go/nogap/internal/dialect"
)

// Kind is what the program asked the driver for.
type Kind int

// The kinds of calls. Begin and Commit are also those of the statements BEGIN IMMEDIATE and COMMIT.
const (
	Connect Kind = iota
	Begin
	Commit
	Rollback
	Exec
	Query
	Prepare
	Close
)

// String returns the name of the kind, in the words of SQL where there is one.
func (k Kind) String() string {
	return [...]string{"CONNECT", "BEGIN", "COMMIT", "ROLLBACK", "EXEC", "QUERY", "PREPARE", "CLOSE"}[k]
}

// Call is one call of the driver.
type Call struct {
	Kind  Kind
	Conn  int // counts the connections from 1
	Query string
	Args  []driver.NamedValue
	Tx    driver.TxOptions // of Begin
}

// String returns the call as one line: its SQL, or its kind if it has none.
func (c Call) String() string {
	if c.Kind == Prepare {
		return c.Kind.String() + " " + c.Query
	}
	if c.Query != "" {
		return c.Query
	}
	return c.Kind.String()
}

// Arg returns the value of parameter i, counted from 0.
func (c Call) Arg(i int) driver.Value { return c.Args[i].Value }

// Reply is what a Handler answers to Exec and Query. For Query, Err is what reading on after the last row fails with.
type Reply struct {
	Columns      []string
	Rows         [][]driver.Value
	Err          error
	RowsAffected int64
	LastInsertID int64
}

// Row returns the reply that is one row.
func Row(values ...driver.Value) Reply {
	return Reply{Columns: make([]string, len(values)), Rows: [][]driver.Value{values}}
}

// Handler is the server. It is called by several goroutines, for one connection by one at a time. A context that ends
// in mid-statement is the handler's to notice.
type Handler func(ctx context.Context, c Call) (Reply, error)

// Server is a driver.Connector whose connections are served by a Handler.
type Server struct {
	// Looks answers the first look at a table and at the session, which the Handler does not see and Log does not have. Nil
	// finds nothing against either; see Looked.
	Looks  Handler
	handle Handler
	// Prepares makes the driver leave it to database/sql to prepare what has arguments, as go-sql-driver's does by default.
	// It is to be set before the first connection.
	Prepares bool

	opened atomic.Int64
	open   atomic.Int64
	dirty  atomic.Int64

	mu  sync.Mutex
	log []Call
}

// New returns the Server of h.
func New(h Handler) *Server { return &Server{handle: h} }

// DB returns a new pool of connections to the server.
func (s *Server) DB() *sql.DB { return sql.OpenDB(s) }

// Open is New(h).DB().
func Open(h Handler) *sql.DB { return New(h).DB() }

// Looked is the Reply to a look at a table that has nothing against it, whose version column has a type, or at a session.
func Looked(c Call, columnType string) Reply {
	if strings.HasPrefix(c.Query, "SELECT @@autocommit") {
		return Row(int64(1), "NO_CHAIN")
	}
	if strings.HasPrefix(c.Query, "SELECT CASE WHEN @@sql_mode") {
		return Row("")
	}
	if strings.HasPrefix(c.Query, "SHOW CREATE TABLE") {
		return Row("table", "CREATE TABLE t (\n  version "+columnType+"\n) ENGINE=InnoDB")
	}
	return Row(int64(0), int64(0), "", columnType, int64(0), int64(1), "", int64(0), int64(0), "", int64(0))
}

// Recorded returns a handler that keeps what it is asked before it passes it on to h; Log returns it.
func Recorded(h Handler) *Server {
	s := &Server{}
	s.handle = func(ctx context.Context, c Call) (Reply, error) {
		s.mu.Lock()
		s.log = append(s.log, c)
		s.mu.Unlock()
		return h(ctx, c)
	}
	return s
}

// Log returns what has been asked of a Recorded server, as Call.String has it, without connects and closes.
func (s *Server) Log() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for _, c := range s.log {
		if c.Kind != Connect && c.Kind != Close {
			lines = append(lines, c.String())
		}
	}
	return lines
}

// Calls returns what has been asked of a Recorded server.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// OpenConns returns how many connections are open now.
func (s *Server) OpenConns() int { return int(s.open.Load()) }

// Dirty returns how often the pool got a connection back with its transaction still open, and handed it out again.
func (s *Server) Dirty() int { return int(s.dirty.Load()) }

// Connect opens a connection; database/sql calls it.
func (s *Server) Connect(ctx context.Context) (driver.Conn, error) {
	c := &conn{server: s, id: int(s.opened.Add(1))}
	if _, err := c.call(ctx, Call{Kind: Connect}); err != nil {
		return nil, err
	}
	s.open.Add(1)
	return c, nil
}

// Driver returns the server as a driver.Driver.
func (s *Server) Driver() driver.Driver { return opener{s} }

type opener struct{ s *Server }

func (o opener) Open(string) (driver.Conn, error) { return o.s.Connect(context.Background()) }

type conn struct {
	server *Server
	id     int
	inTx   bool
	dead   bool
}

// call hands the call to the server. A connection that failed with ErrBadConn is dead.
func (c *conn) call(ctx context.Context, call Call) (Reply, error) {
	if c.dead && call.Kind != Close {
		return Reply{}, driver.ErrBadConn
	}
	call.Conn = c.id
	handle := c.server.handle
	if strings.HasSuffix(call.Query, dialect.LookMark) {
		if handle = c.server.Looks; handle == nil {
			return Looked(call, ""), nil
		}
	}
	r, err := handle(ctx, call)
	if errors.Is(err, driver.ErrBadConn) {
		c.dead = true
	}
	return r, err
}

func (c *conn) Close() error {
	c.server.open.Add(-1)
	_, err := c.call(context.Background(), Call{Kind: Close})
	return err
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	if _, err := c.call(context.Background(), Call{Kind: Prepare, Query: query}); err != nil {
		return nil, err
	}
	return &stmt{c, query}, nil
}

func (c *conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.inTx {
		return nil, errors.New("fakedb: BEGIN in a transaction")
	}
	if _, err := c.call(ctx, Call{Kind: Begin, Tx: opts}); err != nil {
		return nil, err
	}
	c.inTx = true
	return tx{c, ctx}, nil
}

// ResetSession refuses a connection that was put back into the pool with its transaction open, or dead.
func (c *conn) ResetSession(context.Context) error {
	if c.inTx && !c.dead {
		c.server.dirty.Add(1)
	}
	if c.dead || c.inTx {
		return driver.ErrBadConn
	}
	return nil
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.server.Prepares && len(args) > 0 {
		return nil, driver.ErrSkip
	}
	return c.exec(ctx, query, args)
}

func (c *conn) exec(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	kind := Exec
	switch query {
	case "BEGIN IMMEDIATE":
		kind = Begin
	case "COMMIT":
		kind = Commit
	}
	r, err := c.call(ctx, Call{Kind: kind, Query: query, Args: args})
	if err != nil {
		return nil, err
	}
	switch {
	case kind == Begin:
		c.inTx = true
	case kind == Commit, query == "ROLLBACK":
		c.inTx = false
	}
	return result{r.LastInsertID, r.RowsAffected}, nil
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.server.Prepares && len(args) > 0 {
		return nil, driver.ErrSkip
	}
	return c.query(ctx, query, args)
}

func (c *conn) query(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	r, err := c.call(ctx, Call{Kind: Query, Query: query, Args: args})
	if err != nil {
		return nil, err
	}
	return &rows{reply: r}, nil
}

// stmt is a prepared statement. To close it asks nothing of the server.
type stmt struct {
	c    *conn
	text string
}

func (s *stmt) Close() error  { return nil }
func (s *stmt) NumInput() int { return -1 }

func (s *stmt) Exec([]driver.Value) (driver.Result, error) { return nil, driver.ErrSkip }
func (s *stmt) Query([]driver.Value) (driver.Rows, error)  { return nil, driver.ErrSkip }

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.c.exec(ctx, s.text, args)
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.c.query(ctx, s.text, args)
}

type result struct{ id, affected int64 }

func (r result) LastInsertId() (int64, error) { return r.id, nil }
func (r result) RowsAffected() (int64, error) { return r.affected, nil }

// tx keeps the context of BeginTx and commits under it, as pgx does.
type tx struct {
	c   *conn
	ctx context.Context
}

func (t tx) Commit() error   { return t.end(Commit) }
func (t tx) Rollback() error { return t.end(Rollback) }

func (t tx) end(k Kind) error {
	_, err := t.c.call(t.ctx, Call{Kind: k})
	if err == nil {
		t.c.inTx = false
	}
	return err
}

type rows struct {
	reply Reply
	next  int
}

func (r *rows) Columns() []string { return r.reply.Columns }
func (r *rows) Close() error      { return nil }

func (r *rows) Next(dest []driver.Value) error {
	if r.next == len(r.reply.Rows) {
		if r.reply.Err != nil {
			return r.reply.Err
		}
		return io.EOF
	}
	copy(dest, r.reply.Rows[r.next])
	r.next++
	return nil
}
