package idempotency

import (
	"context"
	"fmt"
	"time"

	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// Lookup returns the result that is stored under the key. found is false if there is none, and while the first call with the key
// still runs. It costs one round trip.
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

// Forget deletes the key and its result, so that the next call with it runs its callback. A key that is not there is no error.
// It waits for a call that has the key's row locked. If it returns nogap.ErrOutcomeUnknown, calling it again is safe.
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
			_, _, err := txn.ExecOne(ctx, r, q.forget.Text, q.forget.Args(row)...)
			return s.withSchema(q.server, err)
		})
	})
}

// sweepBatch is how many keys are read at a time.
const sweepBatch = 500

// Sweep deletes the keys of this Store's Scope whose calls began longer ago than olderThan, by the server's clock, and returns how
// many it has deleted, also with an error. Each key is deleted by a statement of its own, so it holds no lock while it
// goes on. A request that is repeated after its key was swept runs again: keep keys longer than clients retry.
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
			for _, key := range keys {
				swept, err := s.sweepKey(ctx, op, q, key, age)
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

// sweepKey deletes a key if it is still an old one.
func (s *store) sweepKey(ctx context.Context, op *observe.Op, q *statements, key []byte, age int64) (swept int, err error) {
	row := []any{[]byte(s.scope), key, age}
	if err := s.t.CheckFree(ctx, row[:2]); err != nil {
		return 0, err
	}
	err = s.t.Statement(ctx, op, func(r txn.Runner) error {
		_, deleted, err := txn.ExecOne(ctx, r, q.forgetOld.Text, q.forgetOld.Args(row)...)
		if deleted {
			swept = 1
		}
		return err
	})
	return swept, err
}
