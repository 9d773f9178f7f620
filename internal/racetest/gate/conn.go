package gate

import (
	"context"
	"database/sql/driver"
)

// conn is a driver's connection whose statements are steps.
type conn struct {
	inner   driver.Conn
	session *Session
	ctl     Controller
	// skipped is a statement that has been let through and that the driver wants prepared (driver.ErrSkip). What
	// database/sql prepares next is that statement, and it is not let through once more.
	skipped *Statement
}

// exposed returns c with those interfaces of the driver's connection whose presence changes what database/sql does: with both it keeps
// a connection whose transaction ended with its context. The methods of the others do nothing where the driver has none.
func exposed(c *conn) driver.Conn {
	resetter, resets := c.inner.(driver.SessionResetter)
	validator, validates := c.inner.(driver.Validator)
	switch {
	case resets && validates:
		return struct {
			*conn
			driver.SessionResetter
			driver.Validator
		}{c, resetter, validator}
	case resets:
		return struct {
			*conn
			driver.SessionResetter
		}{c, resetter}
	case validates:
		return struct {
			*conn
			driver.Validator
		}{c, validator}
	}
	return c
}

// Raw returns the driver's connection. Its statements are no steps.
func (c *conn) Raw() driver.Conn { return c.inner }

func (c *conn) Close() error {
	c.forget()
	return c.inner.Close()
}

func (c *conn) Ping(ctx context.Context) error {
	if p, ok := c.inner.(driver.Pinger); ok {
		return p.Ping(ctx)
	}
	return nil
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.inner.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *conn) Begin() (driver.Tx, error) { return c.BeginTx(context.Background(), driver.TxOptions{}) }

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	s := c.statement(Begin, "", nil)
	s.Isolation, s.ReadOnly = opts.Isolation, opts.ReadOnly
	var begun driver.Tx
	err := c.step(ctx, s, func() (r Result) {
		begun, r.Err = connBegin(ctx, c.inner, opts)
		return r
	})
	if err != nil {
		return nil, err
	}
	return &tx{inner: begun, conn: c, ctx: context.WithoutCancel(ctx), readOnly: opts.ReadOnly}, nil
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !hasExec(c.inner) {
		return nil, driver.ErrSkip
	}
	var res driver.Result
	err := c.step(ctx, c.statement(Exec, query, args), func() (r Result) {
		res, r = executed(connExec(ctx, c.inner, query, args))
		return r
	})
	return res, err
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !hasQuery(c.inner) {
		return nil, driver.ErrSkip
	}
	var rows driver.Rows
	err := c.step(ctx, c.statement(Query, query, args), func() (r Result) {
		inner, err := connQuery(ctx, c.inner, query, args)
		rows, r = c.read(query, inner, err)
		return r
	})
	return asked(rows, err)
}

func (c *conn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	let := c.skipped
	if let != nil && let.SQL != query {
		c.forget()
		let = nil
	}
	c.skipped = nil
	prepared, err := c.prepare(ctx, query, let)
	if err != nil {
		return nil, err
	}
	return c.prepared(prepared, query, let), nil
}

// prepare has the driver prepare a statement, which ends let, if there is one and it can't be prepared. Waiting for the lock of the
// schema, which SQLite has, is a step of its own.
func (c *conn) prepare(ctx context.Context, query string, let *Statement) (prepared driver.Stmt, err error) {
	send := func() (r Result) {
		prepared, r.Err = connPrepare(ctx, c.inner, query)
		return r
	}
	if let != nil {
		err = c.run(ctx, let, func() (Result, bool) {
			r := send()
			return r, r.Err != nil
		})
	} else if err = send().Err; Busy(err) {
		err = c.step(ctx, c.statement(Exec, query, nil), send)
	}
	return prepared, err
}
