package idempotency

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// Lookup returns the result that is stored under the key. found is false if there is none, and while the first call
// with the key still runs. It costs one round trip. ErrTypeChanged is returned for a result that was stored with
// another type. When ctx ends, Lookup returns ctx's error at once.
func (s *Store[T]) Lookup(ctx context.Context, key string) (result T, found bool, err error) {
	data, found, err := s.s.lookup(ctx, key)
	if err != nil || !found {
		return result, false, fail(err)
	}
	if result, err = decode[T](data); err != nil {
		return result, false, fail(err)
	}
	return result, true, nil
}

func (s *store) lookup(ctx context.Context, key string) (data []byte, found bool, err error) {
	err = s.t.Operation(ctx, "idempotency.Lookup", func(ctx context.Context, op *observe.Op) error {
		if err := checkKey(key); err != nil {
			return err
		}
		q, err := s.statements(ctx)
		if err != nil {
			return err
		}
		return s.t.Statement(ctx, op, func(r txn.Runner) error {
			var e *entry
			if e, found, err = read(ctx, r, q.lookup, s.row(key)); err == nil && found {
				data, err = s.stored(e, nil)
			}
			return s.withSchema(q.server, err)
		})
	})
	return data, found, err
}

// Forget deletes the key and its result, so that the next call with it runs its callback. A key that is not there is
// no error. Forget waits for a call that has the key's row locked. nogap.ErrLockTimeout is returned when that took
// longer than the server allows. nogap.ErrOutcomeUnknown is returned when the key may have been deleted: to call
// Forget again is safe then.
//
// If ctx ends before the statement is sent, or while it waits for the row, Forget returns ctx's error and deletes
// nothing. It waits for the answer to a statement that is under way for up to one second.
func (s *Store[T]) Forget(ctx context.Context, key string) error { return fail(s.s.forget(ctx, key)) }

func (s *store) forget(ctx context.Context, key string) error {
	return s.t.Operation(ctx, "idempotency.Forget", func(ctx context.Context, op *observe.Op) error {
		if err := checkKey(key); err != nil {
			return err
		}
		row := s.row(key)
		if err := s.t.CheckFree(ctx, row); err != nil {
			return err
		}
		q, err := s.statements(ctx)
		if err != nil {
			return err
		}
		return s.t.Statement(ctx, op, func(r txn.Runner) error {
			_, err := txn.WriteOne(ctx, r, q.forgetReturns, q.forget.Text, q.forget.Args(row)...)
			return s.withSchema(q.server, err)
		})
	})
}

// sweepBatch is how many keys are read at a time, and deleted where that locks no others.
const sweepBatch = 500

// Sweep deletes the keys of this Store's Scope whose calls began longer ago than olderThan, by the server's clock. It
// returns how many it has deleted, also with an error. A statement deletes up to 500 keys, and on MySQL and MariaDB
// one. Between two statements Sweep holds no lock. If a request is repeated after its key was swept, it runs again.
// So keep keys longer than clients repeat their requests.
//
// nogap.ErrOutcomeUnknown is returned when the last statement may have been carried out: to call Sweep again is safe
// then. An olderThan of zero or less is an error. When ctx ends, Sweep returns ctx's error, and what was deleted before stays
// deleted.
func (s *Store[T]) Sweep(ctx context.Context, olderThan time.Duration) (deleted int, err error) {
	deleted, err = s.s.sweep(ctx, olderThan)
	return deleted, fail(err)
}

func (s *store) sweep(ctx context.Context, olderThan time.Duration) (deleted int, err error) {
	err = s.t.Operation(ctx, "idempotency.Sweep", func(ctx context.Context, op *observe.Op) error {
		if olderThan <= 0 {
			return fmt.Errorf("Sweep of what is older than %v: the time must be positive", olderThan)
		}
		q, err := s.statements(ctx)
		if err != nil {
			return err
		}
		age, last := olderThan.Microseconds(), []byte{}
		for {
			keys, err := s.oldKeys(ctx, q, last, age)
			if err != nil || len(keys) == 0 {
				return s.withSchema(q.server, err)
			}
			last = keys[len(keys)-1]
			for batch := range slices.Chunk(keys, q.batch) {
				swept, err := s.sweepKeys(ctx, op, q, batch, age)
				if err != nil {
					return err
				}
				deleted += swept
			}
		}
	})
	return deleted, err
}

// oldKeys returns the first old keys behind one.
func (s *store) oldKeys(ctx context.Context, q *statements, after []byte, age int64) (keys [][]byte, err error) {
	rows, err := s.t.DB().QueryContext(ctx, q.old.Text, q.old.Args([]any{[]byte(s.scope), after, age, sweepBatch})...)
	if err != nil {
		return nil, txn.JoinContext(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		var key []byte
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, txn.JoinContext(ctx, rows.Err())
}

// sweepKeys deletes those of the keys, a batch at most, that are still old ones.
func (s *store) sweepKeys(ctx context.Context, op *observe.Op, q *statements, keys [][]byte, age int64) (swept int, err error) {
	args := []any{[]byte(s.scope), age}
	var rows [][]any
	for _, key := range keys {
		args = append(args, key)
		rows = append(rows, []any{[]byte(s.scope), key})
	}
	if err := s.t.CheckFree(ctx, rows...); err != nil {
		return 0, err
	}
	for len(args) < q.batch+2 {
		args = append(args, keys[0]) // once more
	}
	err = s.t.Statement(ctx, op, func(r txn.Runner) error {
		if q.forgetOldCounts {
			return r.QueryRow(ctx, q.forgetOld.Text, q.forgetOld.Args(args), &swept)
		}
		res, err := r.Exec(ctx, q.forgetOld.Text, q.forgetOld.Args(args)...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return txn.Unread(r, err)
		}
		swept = int(n)
		return nil
	})
	return swept, err
}
