//lint:file-ignore SA1019 drivers may have the deprecated interfaces alone

package gate

import (
	"context"
	"database/sql/driver"
)

// stmt is a prepared statement, each execution of which is a step.
type stmt struct {
	inner driver.Stmt
	conn  *conn
	query string
	// let is the statement for whose execution this one was prepared. It has been let through.
	let *Statement
}

// prepared returns a driver's statement as one whose executions are steps. A column converter is there if the driver has one, since
// database/sql then leaves arguments that are too many as they are.
func (c *conn) prepared(inner driver.Stmt, query string, let *Statement) driver.Stmt {
	s := &stmt{inner, c, query, let}
	if converter, ok := inner.(driver.ColumnConverter); ok {
		return converting{s, converter}
	}
	return s
}

type converting struct {
	*stmt
	converter driver.ColumnConverter
}

func (c converting) ColumnConverter(i int) driver.ValueConverter {
	return c.converter.ColumnConverter(i)
}

func (s *stmt) Close() error {
	if let := s.let; let != nil { // database/sql has refused the arguments
		s.let = nil
		s.conn.ctl.After(context.Background(), let, Result{Err: errNotExecuted})
	}
	return s.inner.Close()
}

func (s *stmt) NumInput() int { return s.inner.NumInput() }

func (s *stmt) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := s.inner.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return s.conn.CheckNamedValue(v)
}

func (s *stmt) Exec(args []driver.Value) (driver.Result, error) {
	return s.ExecContext(context.Background(), named(args))
}

func (s *stmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	var res driver.Result
	err := s.step(ctx, Exec, args, func() (r Result) {
		res, r = executed(stmtExec(ctx, s.inner, args))
		return r
	})
	return res, err
}

func (s *stmt) Query(args []driver.Value) (driver.Rows, error) {
	return s.QueryContext(context.Background(), named(args))
}

func (s *stmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	var rows driver.Rows
	err := s.step(ctx, Query, args, func() (r Result) {
		inner, err := stmtQuery(ctx, s.inner, args)
		rows, r = s.conn.read(s.query, inner, err)
		return r
	})
	return asked(rows, err)
}

// step is one execution.
func (s *stmt) step(ctx context.Context, k Kind, args []driver.NamedValue, send func() Result) error {
	let := s.let
	if let == nil {
		return s.conn.step(ctx, s.conn.statement(k, s.query, args), send)
	}
	s.let = nil
	return s.conn.run(ctx, let, func() (Result, bool) { return send(), true })
}

func named(values []driver.Value) []driver.NamedValue {
	args := make([]driver.NamedValue, len(values))
	for i, v := range values {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return args
}
