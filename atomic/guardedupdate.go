package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// guardedUpdate is an update that happens only if a condition holds, its guard, and the question why it did not. Its
// arguments are numbered: those of the key come first, then the amount or the expected value, then the limit or the new
// value.
type guardedUpdate struct {
	statement dialect.Statement
	value     newValue
	// question selects the value and a finding; latest does so where the newest row must be seen inside a transaction.
	question, latest dialect.Statement
	refusal          error
}

// newValue is how the new value comes back.
type newValue int

const (
	unneeded newValue = iota // nobody asks for it
	returned                 // by RETURNING
	insertID                 // as LAST_INSERT_ID
	readBack                 // by a SELECT in the same transaction
)

// The findings about a row that an update did not change.
const (
	refuses = iota // the guard does not hold
	holds          // it holds now: somebody changed the row in between
	noop           // it holds, and the new value is there already, so MySQL counted no row as changed
)

func (c *column) guard(s dialect.Server, value, condition string, a newValue, refusal error) guardedUpdate {
	if a == insertID && c.number == dialect.Signed {
		// An UNSIGNED column holds more than comes back in a signed number. What is taken from is looked at before, since
		// a difference below zero would be an error there.
		largest := s.Quote(c.name)
		if refusal == ErrLimit {
			largest = value
		}
		condition += " AND " + largest + " <= 9223372036854775807"
	}
	u := guardedUpdate{value: a, refusal: refusal}
	u.question, u.latest = c.question(s, condition, strconv.Itoa(holds))
	tail := ""
	switch a {
	case returned:
		tail = " RETURNING " + s.Quote(c.name)
	case insertID:
		// https://dev.mysql.com/doc/refman/8.4/en/information-functions.html#function_last-insert-id
		// What the function returns is not stored: it is unsigned, and rounded where the column is a DECIMAL.
		value = "CASE WHEN LAST_INSERT_ID(" + value + ") = 0 THEN " + value + " ELSE " + value + " END"
	}
	u.statement = s.Compile("UPDATE " + s.Quote(c.t.Name) + " SET " + s.Quote(c.name) + " = " + value +
		" WHERE " + s.Equals(c.t.Key, 1) + " AND " + condition + tail)
	return u
}

// guardSwap is the guard of a compare-and-set.
func (c *column) guardSwap(s dialect.Server, to, condition string) guardedUpdate {
	u := c.guard(s, to, condition, unneeded, ErrMismatch)
	u.question, u.latest = c.question(s, condition,
		fmt.Sprintf("CASE WHEN %s = %s THEN %d ELSE %d END", s.Quote(c.name), to, noop, holds))
	return u
}

func (c *column) question(s dialect.Server, condition, finding string) (question, latest dialect.Statement) {
	text := fmt.Sprintf("SELECT %s, CASE WHEN %s THEN %s ELSE %d END FROM %s WHERE %s",
		s.Quote(c.name), condition, finding, refuses, s.Quote(c.t.Name), s.Equals(c.t.Key, 1))
	return s.Compile(text), s.Compile(text + s.LatestRead)
}

// arguments returns the key followed by the other values.
func arguments(key Key, others ...any) []any {
	if len(others) == 0 {
		return key
	}
	return append(append(make([]any, 0, len(key)+len(others)), key...), others...)
}

// maxTurns bounds how often a refused update is tried again because its guard held when it was looked at afterwards.
const maxTurns = 10

// updateOrExplain updates a row if the guard holds, and otherwise finds out why it does not. It returns the new value, or
// with a *RefusedError the one that is there.
func updateOrExplain[T any](ctx context.Context, r txn.Runner, c *column, u *guardedUpdate, args []any) (T, error) {
	for turn := 1; ; turn++ {
		value, changed, err := update[T](ctx, r, c, u, args)
		if changed || err != nil {
			return value, c.explain(u, args, err)
		}
		current, finding, err := ask[T](ctx, r, c, u, args)
		switch {
		case err != nil:
			return value, c.explain(u, args, err)
		case finding == noop:
			return current, nil
		case finding == refuses:
			return current, c.refused(args[:len(c.t.Key)], u.refusal, current)
		case turn == maxTurns:
			return current, c.explain(u, args, errHeldBack)
		}
	}
}

// update runs the guarded update. If it changed nothing, the guard did not hold or there is no such row.
func update[T any](ctx context.Context, r txn.Runner, c *column, u *guardedUpdate, args []any) (value T, changed bool, err error) {
	text, bound := u.statement.Bind(args)
	if u.value == returned {
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
	res, changed, err := txn.ExecOne(ctx, r, text, bound...)
	if err != nil || !changed {
		return value, false, err
	}
	switch u.value {
	case insertID:
		id, err := lastInsertID(ctx, r, res)
		if err == nil {
			value, err = fromInsertID[T](id)
		}
		if err != nil {
			return value, false, txn.Unread(r, err)
		}
	case readBack:
		value, _, err = ask[T](ctx, r, c, u, args)
	}
	return value, err == nil, err
}

// lastInsertID returns what LAST_INSERT_ID was last given. A trigger makes the server forget to say so in its answer to
// the UPDATE, which then has 0: then the session is asked.
func lastInsertID(ctx context.Context, r txn.Runner, res sql.Result) (int64, error) {
	id, err := res.LastInsertId()
	if err != nil || id != 0 {
		return id, err
	}
	var unsigned uint64
	err = r.ReadSession(ctx, "SELECT LAST_INSERT_ID()", nil, &unsigned)
	return int64(unsigned), err
}

// ask reads the value that is there and how it stands to the guard.
func ask[T any](ctx context.Context, r txn.Runner, c *column, u *guardedUpdate, args []any) (current T, finding int, err error) {
	question := &u.question
	if c.t.InTx() {
		// In a transaction of REPEATABLE READ the update looked at the newest row and a plain SELECT looks at the
		// snapshot: only a locking read sees what the update saw.
		question = &u.latest
	}
	var value sql.Null[T]
	err = r.Read(ctx, question.Text, question.Args(args), &value, &finding)
	if err == nil && !value.Valid {
		err = errNull
	}
	return value.V, finding, err
}

var (
	errNull     = errors.New("the value is NULL")
	errHeldBack = errors.New("nothing changed though there is nothing against it: others keep changing the row, or a trigger " +
		"or a policy of the server held the change back, or it is too small for the column")
)

// explain gives an error the row that it is about, and the package's word for it.
func (c *column) explain(u *guardedUpdate, args []any, err error) error {
	switch {
	case err == nil:
		return nil
	case u.refusal == ErrLimit && sqlerr.Of(err).Has(sqlerr.OutOfRange):
		err = fmt.Errorf("%w: %w", ErrLimit, err)
	}
	return c.at(args[:len(c.t.Key)], err)
}
