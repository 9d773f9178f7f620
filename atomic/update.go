package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

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
		case finding == refuses, finding == fails:
			return current, c.refused(args[:len(c.t.Key)], u.refusalOf(finding), current)
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
	if u.value == checked || u.value == unneeded {
		changed, err = txn.WriteOne(ctx, r, u.verifies, text, bound...)
		return value, changed, err
	}
	res, changed, err := txn.ExecOne(ctx, r, text, bound...)
	if err != nil || !changed {
		return value, false, err
	}
	switch u.value {
	case insertID:
		id, err := txn.LastInsertID(ctx, r, res)
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

// ask reads the value that is there and how it stands to the guard.
func ask[T any](ctx context.Context, r txn.Runner, c *column, u *guardedUpdate, args []any) (current T, finding int, err error) {
	question := &u.question
	if c.t.InTx() {
		// In a transaction of REPEATABLE READ the update looked at the newest row and a plain SELECT looks at the
		// snapshot: only a locking read sees what the update saw.
		question = &u.latest
	}
	var value sql.Null[T]
	text, bound := question.Bind(args)
	err = r.Read(ctx, text, bound, &value, &finding)
	if err == nil && !value.Valid {
		err = errNull
	}
	return value.V, finding, err
}

var (
	errNull      = errors.New("the value is NULL, which can't be counted: make the column NOT NULL DEFAULT 0")
	errOtherwise = errors.New("the column would not hold what was written: it does not fit, or a trigger of the server changes it")
	errHeldBack  = errors.New("nothing changed though there is nothing against it: others keep changing the row, or a trigger " +
		"or a policy of the server held the change back, or it is too small for the column")
)

// explain gives an error the row that it is about, and the package's word for it.
func (c *column) explain(u *guardedUpdate, args []any, err error) error {
	switch {
	case err == nil:
		return nil
	case u.refusal == ErrLimit && sqlerr.Of(err).Has(sqlerr.OutOfRange):
		err = fmt.Errorf("%w: %w", ErrLimit, err)
	case u.refusal == ErrMismatch && dialect.Unverified(err):
		err = fmt.Errorf("%w: %w", errOtherwise, err)
	}
	return c.at(args[:len(c.t.Key)], err)
}

// verified returns an error if a trigger has changed what an update has written.
func (c *column) verified(ctx context.Context, r txn.Runner, u *guardedUpdate, args []any) error {
	if u.verify.Text == "" {
		return nil
	}
	var holds int
	text, bound := u.verify.Bind(args)
	err := r.Read(ctx, text, bound, &holds)
	if err == nil && holds != 1 {
		err = errOtherwise
	}
	return c.explain(u, args, err)
}

// locked reports whether a call that ended with err holds its row until the end of the transaction that it was made in.
// onlyLooked says that it was to write nothing.
func locked(q *columnSQL, onlyLooked bool, err error) bool {
	if err == nil {
		return !onlyLooked || q.locksRefused
	}
	return q.locksRefused && errors.As(err, new(*RefusedError))
}

// swap is the compare-and-set of Counter and State.
func swap[T any](ctx context.Context, c *column, name string, from, to T, key Key) error {
	return c.t.Operation(ctx, name, func(ctx context.Context, op *observe.Op) error {
		if err := c.check(ctx, key); err != nil {
			return fail(err)
		}
		q, err := c.statements(ctx)
		if err != nil {
			return c.failed(err, key)
		}
		for _, value := range []any{from, to} {
			if err := q.checkAmount(value); err != nil {
				return c.failed(err, key)
			}
		}
		u, args := &q.updates[compareAndSet], arguments(key, from, to)
		run := c.t.Statement
		if u.verify.Text != "" {
			run = c.t.Transaction
		}
		err = run(ctx, op, func(r txn.Runner) error {
			_, err := updateOrExplain[T](ctx, r, c, u, args)
			if err == nil {
				err = c.verified(ctx, r, u, args)
			}
			return err
		})
		if locked(q, false, err) {
			c.t.Wrote(ctx, key)
		}
		return c.failed(err, key)
	})
}
