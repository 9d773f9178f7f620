package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// column is one column of a table's rows, which guarded statements change.
type column struct {
	table
	column dialect.Ident
	number number
	sql    *atomic.Pointer[guards] // shared by all copies; nil inside until the server is known
}

func newColumn(db *sql.DB, tableName, columnName string, n number, opts []Option) (column, error) {
	o, err := newOptions(opts)
	if err != nil {
		return column{}, err
	}
	t, err := newTable(db, tableName, o)
	if err != nil {
		return column{}, err
	}
	c, err := dialect.Column(columnName)
	if err != nil {
		return column{}, err
	}
	return column{table: t, column: c, number: n, sql: new(atomic.Pointer[guards])}, nil
}

// guards are the guarded updates of one column in one server's SQL.
type guards struct {
	server                            dialect.Server
	takeOne, take, add, addUpTo, swap guard
}

// guard is an update that happens only if a condition holds, and the question why it did not. Its values are numbered:
// those of the key come first, then the amount or the expected value, then the limit or the new value.
type guard struct {
	update dialect.Statement
	// value says how the new value comes back.
	value   newValue
	check   dialect.Statement // selects the value, and a verdict
	refusal error
}

type newValue int

const (
	unasked  newValue = iota // nobody needs it
	returned                 // by RETURNING
	insertID                 // as LAST_INSERT_ID
	readBack                 // by a SELECT in the same transaction
)

// The verdicts on a row that an update did not change.
const (
	refuses = iota // the guard does not hold
	holds          // it holds now: somebody changed the row in between
	noop           // it holds, and the new value is there already, so MySQL counted no row as changed
)

// guards returns the statements for the server, and asks which it is if that isn't known.
func (c *column) guards(ctx context.Context) (*guards, error) {
	if g := c.sql.Load(); g != nil {
		return g, nil
	}
	s, err := c.server(ctx)
	if err != nil {
		return nil, err
	}
	g := c.build(s)
	c.sql.Store(g)
	return g, nil
}

func (c *column) build(s dialect.Server) *guards {
	col := s.Quote(c.column)
	first := c.number.param(s, len(c.key)+1)
	second := c.number.param(s, len(c.key)+2)
	plus := col + " + " + first
	held := c.held(s)

	// c >= n, and not c - n >= 0, which is an error where the column is UNSIGNED.
	enough := held + " >= " + first
	fits := col + " IS NOT NULL"
	if s.Dialect == nogap.SQLite {
		// SQLite has no overflow: an integer that becomes too large turns into a rounded REAL.
		fits += " AND NOT (typeof(" + col + ") = 'integer' AND typeof(0 + " + first + ") = 'integer'" +
			" AND typeof(" + plus + ") <> 'integer')"
	}
	value := c.howToReturn(s)
	return &guards{
		server:  s,
		takeOne: c.guard(s, col+" - 1", held+" >= 1", value, ErrInsufficient),
		take:    c.guard(s, col+" - "+first, enough, value, ErrInsufficient),
		add:     c.guard(s, plus, fits, value, ErrLimit),
		addUpTo: c.guard(s, plus, fits+" AND "+plus+" <= "+second, value, ErrLimit),
		swap:    c.swap(s, col, first, second),
	}
}

// held is the column's value in a comparison. SQLite compares a column of text with any number as text, so '5' with 10
// as if it were more.
func (c *column) held(s dialect.Server) string {
	if s.Dialect == nogap.SQLite && c.number != verbatim {
		return "(" + s.Quote(c.column) + " + 0)"
	}
	return s.Quote(c.column)
}

func (c *column) howToReturn(s dialect.Server) newValue {
	switch {
	case s.UpdateReturning():
		return returned
	case c.number == signed || c.number == unsigned:
		return insertID
	}
	return readBack
}

func (c *column) guard(s dialect.Server, value, condition string, how newValue, refusal error) guard {
	update := func(value, tail string) dialect.Statement {
		return s.Compile("UPDATE " + s.Quote(c.name) + " SET " + s.Quote(c.column) + " = " + value +
			" WHERE " + s.Equals(c.key, 1) + " AND " + condition + tail)
	}
	if how == insertID && c.number == signed {
		// An UNSIGNED column holds more than comes back in a signed number. What is taken from is looked at before, since
		// a difference below zero would be an error there.
		largest := s.Quote(c.column)
		if refusal == ErrLimit {
			largest = value
		}
		condition += " AND " + largest + " <= 9223372036854775807"
	}
	g := guard{value: how, check: c.check(s, condition, strconv.Itoa(holds)), refusal: refusal}
	switch how {
	case returned:
		g.update = update(value, " RETURNING "+s.Quote(c.column))
	case insertID:
		// https://dev.mysql.com/doc/refman/8.4/en/information-functions.html#function_last-insert-id
		// What the function returns is not stored: it is unsigned, and rounded where the column is a DECIMAL.
		g.update = update("CASE WHEN LAST_INSERT_ID("+value+") = 0 THEN "+value+" ELSE "+value+" END", "")
	default:
		g.update = update(value, "")
	}
	return g
}

func (c *column) swap(s dialect.Server, col, from, to string) guard {
	is := c.held(s) + " = " + from
	g := c.guard(s, to, is, unasked, ErrMismatch)
	g.check = c.check(s, is,
		fmt.Sprintf("CASE WHEN %s = %s THEN %d ELSE %d END", col, to, noop, holds))
	return g
}

func (c *column) check(s dialect.Server, condition, verdict string) dialect.Statement {
	return s.Compile(fmt.Sprintf("SELECT %s, CASE WHEN %s THEN %s ELSE %d END FROM %s WHERE %s",
		s.Quote(c.column), condition, verdict, refuses, s.Quote(c.name), s.Equals(c.key, 1)))
}

// values returns the key followed by the other values.
func values(key Key, others ...any) []any {
	if len(others) == 0 {
		return key
	}
	return append(append(make([]any, 0, len(key)+len(others)), key...), others...)
}

// maxTurns bounds how often a refused update is tried again because its guard held when it was looked at afterwards.
const maxTurns = 10

// guarded updates a row if the guard holds, and otherwise finds out why it does not. It returns the new value, or with
// a *RefusedError the one that is there.
func guarded[T any](ctx context.Context, r txn.Runner, c *column, g *guard, args []any) (T, error) {
	for turn := 1; ; turn++ {
		value, changed, err := update[T](ctx, r, c, g, args)
		if changed || err != nil {
			return value, c.explain(g, args, err)
		}
		current, verdict, err := verdict[T](ctx, r, c, g, args)
		switch {
		case err != nil:
			return value, c.explain(g, args, err)
		case verdict == noop:
			return current, nil
		case verdict == refuses:
			return current, c.refused(g, args, current)
		case turn == maxTurns:
			return current, c.explain(g, args, errHeldBack)
		}
	}
}

// update runs the guarded update. If it changed nothing, the guard did not hold or there is no such row.
func update[T any](ctx context.Context, r txn.Runner, c *column, g *guard, args []any) (value T, changed bool, err error) {
	text, bound := g.update.Bind(args)
	if g.value == returned {
		var row struct { // one allocation for what would be two
			value T
			dest  [1]any
		}
		row.dest[0] = &row.value
		err = r.QueryRow(ctx, text, bound, row.dest[:]...)
		if errors.Is(err, sql.ErrNoRows) {
			return value, false, nil
		}
		return row.value, err == nil, err
	}
	res, err := r.Exec(ctx, text, bound...)
	if err != nil {
		return value, false, err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return value, false, c.unread(err)
	}
	if n == 0 {
		return value, false, nil
	}
	if n > 1 {
		return value, false, fmt.Errorf("%d %w", n, errNotUnique)
	}
	switch g.value {
	case insertID:
		id, err := res.LastInsertId()
		if err == nil && id == 0 {
			id, err = lastInsertID(ctx, r)
		}
		if err == nil {
			value, err = fromInsertID[T](id)
		}
		if err != nil {
			return value, false, c.unread(err)
		}
		return value, true, nil
	case readBack:
		value, _, err = verdict[T](ctx, r, c, g, args)
		return value, err == nil, err
	}
	return value, true, nil
}

// lastInsertID asks the connection for what LAST_INSERT_ID was last given. A trigger makes the server forget to say so in
// its answer to the UPDATE, which then has 0. It asks once and on this connection, for no other one knows.
func lastInsertID(ctx context.Context, r txn.Runner) (int64, error) {
	var id uint64
	err := r.QueryRowContext(ctx, "SELECT LAST_INSERT_ID()").Scan(&id)
	return int64(id), err
}

// unread marks the error of a statement that was applied and whose result could not be read. In the caller's transaction
// nothing stands before COMMIT.
func (c *column) unread(err error) error {
	if c.inTx {
		return err
	}
	return fmt.Errorf("%w: the statement was applied, but its result could not be read: %w", nogap.ErrOutcomeUnknown, err)
}

// verdict reads the value that is there and how it stands to the guard.
func verdict[T any](ctx context.Context, r txn.Runner, c *column, g *guard, args []any) (current T, verdict int, err error) {
	query := g.check.Text
	if c.inTx && c.sql.Load().server.IsMySQL() {
		// In a transaction of REPEATABLE READ the update looked at the newest row and a plain SELECT looks at the
		// snapshot: only a locking read sees what the update saw.
		query += " FOR UPDATE"
	}
	var value sql.Null[T]
	err = r.Read(ctx, query, g.check.Args(args), &value, &verdict)
	if err == nil && !value.Valid {
		err = errNull
	}
	return value.V, verdict, err
}

var (
	errNotUnique = errors.New("rows have the key, which must be unique")

	errNull     = errors.New("the value is NULL")
	errHeldBack = errors.New("nothing changed though there is nothing against it: others keep changing the row, or a trigger " +
		"or a policy of the server held the change back, or it is too small for the column")
)

// explain gives an error the row that it is about, and the package's word for it.
func (c *column) explain(g *guard, args []any, err error) error {
	switch {
	case err == nil:
		return nil
	case g.refusal == ErrLimit && sqlerr.Of(err).Has(sqlerr.OutOfRange):
		err = fmt.Errorf("%w: %w", ErrLimit, err)
	}
	return fmt.Errorf("%s.%s at %v: %w", c.name, c.column, args[:len(c.key)], err)
}

func (c *column) refused(g *guard, args []any, current any) error {
	return &RefusedError{
		Err: g.refusal, Table: c.name.String(), Column: c.column.String(), Key: slices.Clone(Key(args[:len(c.key)])), Current: current,
	}
}
