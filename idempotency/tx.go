package idempotency

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// TxStore is a Store that works in a transaction of the caller's. It is made by [Store.WithTx].
type TxStore[T any] struct{ s *store }

// WithTx returns the Store for use in tx, a transaction in which the caller has other work to do: the inbox of a
// queue's messages, for example. Its calls are part of tx. What they write is stored when the caller commits tx. What
// is no transaction (nil or a *sql.DB, for example; see [nogap.Tx]) makes Do return an error.
func (s *Store[T]) WithTx(tx nogap.Tx) *TxStore[T] {
	bound := *s.s
	bound.t = s.s.t.In(tx)
	return &TxStore[T]{&bound}
}

// Do runs fn, unless the key has a result, and stores its result under the key. It works as [Store.Do], with these
// differences:
//
// A savepoint surrounds the key, fn and the result. If fn returns an error, panics or calls runtime.Goexit, the
// transaction is rolled back to the savepoint, and may go on. fn's error is returned as it is. Nothing is run again,
// since only the owner of the transaction may do that. The caller handles an error for which nogap.Retryable is true,
// and the errors of COMMIT.
//
// Do waits for a transaction that has the key, for as long as the server allows: then nogap.ErrLockTimeout is
// returned. Under REPEATABLE READ and SERIALIZABLE, if that transaction was committed after tx had begun, PostgreSQL,
// and MariaDB with innodb_snapshot_isolation, return an error for which nogap.Retryable is true. ErrKeyReused and
// ErrTypeChanged are returned as by Store.Do. When ctx ends, Do stops waiting and returns ctx's error. Fingerprint is
// the only option.
func (s *TxStore[T]) Do(
	ctx context.Context, key string, fn func(ctx context.Context) (T, error), opts ...DoOption,
) (result T, replayed bool, err error) {
	if fn == nil {
		return result, false, fail(errNoCallback)
	}
	data, replayed, err := s.s.doIn(ctx, key, opts, func(ctx context.Context) ([]byte, error, error) {
		value, err := fn(ctx)
		if err != nil {
			return nil, err, nil
		}
		data, err := encode(value)
		return data, nil, err
	})
	if err != nil {
		return result, false, err
	}
	if result, err = decode[T](data); err != nil {
		return result, false, fail(err)
	}
	return result, replayed, nil
}

// doIn is TxStore.Do, whose result is JSON.
func (s *store) doIn(
	ctx context.Context, key string, opts []DoOption, work func(context.Context) (data []byte, failed, err error),
) (data []byte, replayed bool, err error) {
	config, given, err := configure(opts)
	if err == nil {
		err = given.Refuse("Do in a transaction of the caller's", "NoWait", "Timeout", "Isolation", "MaxAttempts")
	}
	if err == nil {
		err = checkKey(key)
	}
	if err != nil {
		return nil, false, fail(err)
	}
	c := &txCall{s: s, row: s.row(key), fingerprint: config.fingerprint, work: work}
	err = s.t.Operation(ctx, "idempotency.Do", func(ctx context.Context, op *observe.Op) error {
		err := c.run(ctx, op)
		if c.callbackErr != nil {
			op.CallbackFailed()
			return err
		}
		return fail(err)
	})
	return c.result, c.replayed && err == nil, err
}

// txCall is one call of TxStore.Do.
type txCall struct {
	s           *store
	q           *statements
	row         []any
	fingerprint []byte
	work        func(context.Context) (data []byte, failed, err error)
	callbackErr error
	result      []byte
	replayed    bool
}

// savepoints numbers them, since fn may set others: a name that is used again replaces the first one on MySQL.
var savepoints atomic.Uint32

const savepointNames = 1000 // which are used in turn

func (c *txCall) run(ctx context.Context, op *observe.Op) (err error) {
	if err := c.s.t.CheckFree(ctx, c.row); err != nil {
		return err
	}
	if c.q, err = c.s.statements(ctx); err != nil {
		return err
	}
	name := fmt.Sprintf("nogap_key_%d", savepoints.Add(1)%savepointNames)
	return c.s.t.InProven(ctx, op, func(r txn.Runner) error {
		return txn.SavepointNamed(ctx, r, name, func(r txn.Runner) error { return c.inSavepoint(ctx, r) })
	})
}

func (c *txCall) inSavepoint(ctx context.Context, r txn.Runner) error {
	inserted, err := c.s.insert(ctx, r, c.q, "", newEntry{c.row, c.fingerprint, newNumber()}, new(dialect.Lost))
	if err != nil {
		return c.s.withSchema(c.q.server, err)
	}
	if !inserted {
		e, found, err := read(ctx, r, c.q.lookupLatest, c.row)
		switch {
		case err != nil:
			return err
		case !found:
			return errVanished
		}
		c.replayed = true
		c.result, err = c.s.stored(e, c.fingerprint)
		return err
	}
	c.s.t.Wrote(ctx, c.row)
	data, failed, err := c.work(ctx)
	if c.callbackErr = failed; failed != nil {
		return failed
	}
	if err != nil {
		return err
	}
	c.result = data
	return finish(ctx, r, c.q, c.row, data, c.s.shape)
}
