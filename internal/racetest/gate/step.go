package gate

import (
	"context"
	"database/sql/driver"
	"errors"
	"strings"
)

// statement returns a statement of the session that has not been let through yet.
func (c *conn) statement(k Kind, query string, args []driver.NamedValue) *Statement {
	if written := kindOf(query); written != 0 {
		k = written
	}
	return &Statement{Kind: k, SQL: query, Args: args, Session: c.session, InTx: c.session.InTx()}
}

// step has a statement let through, sends it, and tells the Controller what came of it. If the driver skips it, with driver.ErrSkip,
// nothing has been sent, and it stays let through until database/sql has prepared and executed it.
func (c *conn) step(ctx context.Context, s *Statement, send func() Result) error {
	c.forget()
	if err := c.ctl.Before(ctx, s); err != nil {
		return err
	}
	return c.run(ctx, s, func() (Result, bool) {
		r := send()
		if r.Err == driver.ErrSkip {
			c.skipped = s
			return r, false
		}
		return r, true
	})
}

// run sends a statement that has been let through, again as often as the Controller wants, and returns its error. send reports
// whether the statement is done.
func (c *conn) run(ctx context.Context, s *Statement, send func() (r Result, done bool)) error {
	for {
		r, done := send()
		if done {
			if r.Err == nil {
				c.session.follow(s)
			}
			if c.ctl.After(ctx, s, r) {
				continue
			}
		}
		return r.Err
	}
}

var errNotExecuted = errors.New("racetest: the statement was not executed")

// forget ends a statement that was skipped and that nobody has prepared, as happens to a caller of sql.Conn.Raw.
func (c *conn) forget() {
	if s := c.skipped; s != nil {
		c.skipped = nil
		c.ctl.After(context.Background(), s, Result{Err: errNotExecuted})
	}
}

// executed reads the result of a driver's Exec.
func executed(res driver.Result, err error) (driver.Result, Result) {
	r := Result{Err: err}
	if err != nil {
		return nil, r
	}
	// A driver that does not know one of them says so with an error.
	if n, err := res.RowsAffected(); err == nil {
		r.Affected = n
	}
	if n, err := res.LastInsertId(); err == nil {
		r.LastInsertID = n
	}
	return res, r
}

// read reads all rows of a driver's query. Where SQLite's rows are closed before their end, a statement that writes is ended, and
// may fail, as it has made all rows before the first; another one is given up.
func (c *conn) read(query string, rows driver.Rows, err error) (driver.Rows, Result) {
	if err != nil {
		return nil, Result{Err: err}
	}
	all := drain(rows)
	all.stops = c.session.sqlite && !strings.Contains(strings.ToUpper(query), "RETURNING")
	first := all.sets[0]
	return all, Result{Err: all.err(), Columns: first.columns, Rows: first.rows}
}

// asked returns what the caller of a query gets. An error that came after the rows did is found while they are read.
func asked(rows driver.Rows, err error) (driver.Rows, error) {
	if rows != nil {
		return rows, nil
	}
	return nil, err
}
