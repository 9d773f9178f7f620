package optimistic

import (
	"context"
	"database/sql"
	"errors"
	"reflect"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// errDeclined stands for the error with which the callback ended a Modify.
var errDeclined = errors.New("declined by the callback")

// Modify loads the row with these key values, lets fn change it, and writes it back if nobody else wrote it in between.
// If somebody did, it starts again with the row as it is then, until it wins, MaxAttempts is reached or ctx ends. It
// returns the item as fn left it, with its new version; what the server makes of its values, by rounding or in a trigger,
// Get tells.
//
// fn may be called several times, each time with a freshly loaded item, so it changes the item and nothing else. Its
// error ends the call, comes back as it is, even if it is ErrVersionConflict, and leaves the row alone. The key is not
// fn's to change, and what it does to the version is ignored. No connection is held while fn runs, except in a turn with
// the lock of LockAfter, and with WithTx.
//
// While a row is contended, callers in this process queue for it in arrival order instead of losing against each other; a
// caller that is too slow goes on beside the next. A call of Modify in fn would be made again with
// each attempt, and is not undone when the attempt is lost.
//
// Giving up is an error that satisfies errors.Is for ErrVersionConflict and ErrRetriesExhausted and holds a
// *ConflictError. No such row, then or in the meantime, is sql.ErrNoRows, wrapped. A lost connection is as for Update.
// With WithTx there is one attempt, and a lost one is a *ConflictError.
func (t *Table[T]) Modify(ctx context.Context, fn func(item *T) error, key ...any) (*T, error) {
	if fn == nil {
		return nil, t.fail(errors.New("the function that modifies the row is nil"))
	}
	if err := t.mapping.checkKey(key); err != nil {
		return nil, t.fail(err)
	}
	if err := ctx.Err(); err != nil {
		return nil, t.fail(err)
	}
	m := modification[T]{Table: t, fn: fn, key: key, place: place{lines: &t.lines, key: key}}
	var err error
	if t.inTx {
		err = m.attempt(ctx, 1)
	} else {
		err = m.untilWon(ctx)
	}
	switch {
	case m.declined != nil:
		return nil, txn.JoinContext(ctx, m.declined)
	case err != nil:
		return nil, t.fail(err)
	}
	return m.item, nil
}

// modification is one call of Modify.
type modification[T any] struct {
	*Table[T]
	fn       func(*T) error
	key      []any
	place    place
	item     *T    // of the last attempt
	declined error // what fn returned, if not nil
}

func (m *modification[T]) untilWon(ctx context.Context) error {
	defer m.place.leave()
	if err := m.place.enter(ctx); err != nil {
		return err
	}
	return m.policy.retry(ctx, ConflictError{Table: m.name.String(), Key: m.key},
		func(n int) error {
			if m.lockAfter > 0 && n > m.lockAfter {
				return m.lockedAttempt(ctx, n)
			}
			return m.attempt(ctx, n)
		},
		func(ctx context.Context, lost int) error {
			if waited, err := m.place.requeue(ctx); waited || err != nil {
				return err // the wait in line has put distance between the rivals
			}
			return m.policy.wait(ctx, lost)
		})
}

// attempt tries once, without a lock. The connection goes back to the pool while fn thinks.
func (m *modification[T]) attempt(ctx context.Context, n int) error {
	err := m.read(ctx, func(r reader, s *statements) error { return m.load(ctx, r, s.load) })
	if err != nil {
		return err
	}
	c, err := m.decide()
	if err != nil {
		return err
	}
	err = m.run(ctx, func(r txn.Runner, s *statements) error {
		err := c.swap(ctx, r, s)
		if last := m.inTx || n == m.policy.attempts; err == errStale && last {
			return c.lost(ctx, r, s, n)
		}
		return err
	})
	return m.finish(ctx, c, n, err)
}

// lockedAttempt tries once with the row locked from the load on. The guard stays: it costs nothing, and a Galera cluster
// has no locks between its nodes.
func (m *modification[T]) lockedAttempt(ctx context.Context, n int) error {
	var c *change
	err := txn.Do(ctx, m.db, nil, func(tx *sql.Tx) error {
		return with(ctx, m.table, txn.In(tx), func(r txn.Runner, s *statements) (err error) {
			if s.writeLock != "" {
				if _, err := r.Exec(ctx, s.writeLock); err != nil {
					return err
				}
			}
			if err = m.load(ctx, r, s.loadLocked); err != nil {
				return err
			}
			if c, err = m.decide(); err != nil {
				return err
			}
			return c.swap(ctx, r, s)
		})
	})
	return m.finish(ctx, c, n, err)
}

func (m *modification[T]) load(ctx context.Context, r reader, statement dialect.Statement) (err error) {
	m.item, err = load[T](ctx, m.table, r, statement, m.key)
	return err
}

// decide lets fn change the item, under a guard that was taken before it could.
func (m *modification[T]) decide() (*change, error) {
	row := reflect.ValueOf(m.item).Elem()
	c, err := m.newChange(row)
	if err != nil {
		return nil, err
	}
	m.place.allow(callbackTime)
	if m.declined = m.fn(m.item); m.declined != nil {
		return nil, errDeclined
	}
	m.place.allow(turnTime)
	return c, c.take(row)
}

// finish gives the item its new version if its swap has won.
func (m *modification[T]) finish(ctx context.Context, c *change, n int, err error) error {
	if c == nil {
		return err
	}
	switch err = c.settle(ctx, err); {
	case err == nil:
		c.store(reflect.ValueOf(m.item).Elem())
	case errors.Is(err, errStale):
		return c.conflict(n) // or the row is gone: the next load tells
	}
	return err
}
