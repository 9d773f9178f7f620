package idempotency

import (
	"context"
	"database/sql"
	"reflect"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/option"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/table"
)

// A Store keeps the results of calls by their keys, in a table of the database in which the calls work. T is the type of the
// results, which are kept as JSON. A Store is safe for concurrent use.
type Store[T any] struct{ s *store }

// store is a Store without the type of its results.
type store struct {
	t     *table.Table
	sql   *table.SQL[statements]
	scope string
	shape string // of the results' type
	calls *calls
}

// calls are those of this process with one database.
type calls struct {
	queue  keyqueue.Queue[place]
	lost   lostTries
	recent recent
}

// place is a key of a table.
type place struct{ table, scope, key string }

var allCalls perdb.Map[calls]

// New returns the Store of the named table of db, which may be qualified by a schema. It returns an error if db is
// nil, if the name is not valid, or if an option is invalid or given twice. Nothing is sent. Schema returns the
// statement that makes the table. The first use looks at the table once. The options are Scope and WithDialect.
func New[T any](db *sql.DB, table string, opts ...Option) (*Store[T], error) {
	var c storeConfig
	if _, err := option.Apply(&c, opts, Option.storeOption); err != nil {
		return nil, fail(err)
	}
	s, err := newStore[T](db, table, c)
	if err != nil {
		return nil, fail(err)
	}
	return &Store[T]{s}, nil
}

// newStore returns the store of results of type T.
func newStore[T any](db *sql.DB, name string, c storeConfig) (*store, error) {
	key, _ := dialect.Columns("scope", "idempotency_key")
	t, err := table.Bind(db, name, table.Options{Key: key, Dialect: c.dialect, Classify: classify})
	if err != nil {
		return nil, err
	}
	return &store{
		t: t, sql: new(table.SQL[statements]), scope: c.scope, shape: shapeOf(reflect.TypeFor[T]()), calls: allCalls.Of(db, nil),
	}, nil
}

// Schema returns the CREATE TABLE IF NOT EXISTS statement of the table in a dialect, for a migration. It panics if the dialect is
// none of nogap's.
func (s *Store[T]) Schema(d nogap.Dialect) string { return s.s.schemaOf(d) }

func (s *store) schemaOf(d nogap.Dialect) string {
	server, err := dialect.Assume(d)
	if err != nil {
		panic("idempotency: Schema: " + err.Error())
	}
	return s.schema(server)
}

// Do runs fn in a transaction, stores its result under the key in the same transaction, and commits both. A later
// call with the key does not run fn: it returns the stored result, and replayed is true. A call that comes while the
// first one runs waits for it. NoWait and Timeout bound that. The returned result is what its JSON keeps of it, for
// the first call too.
//
// The key has 1 to 255 bytes, and no NUL. Its bytes are compared exactly.
//
// # The callback
//
// If fn returns an error, panics or calls runtime.Goexit, or if ctx ends, the transaction is rolled back and nothing
// is stored, so the next call runs fn. fn's error is returned as it is. All that fn does must go through tx. fn may
// run more than once, in another transaction each time: after a deadlock, for example, and after a COMMIT that was
// lost before it arrived. It must return the errors of tx.
//
// # Errors and contexts
//
//   - ErrInProgress is returned with NoWait while another call with the key runs.
//   - nogap.ErrLockTimeout is returned when Timeout, or a limit of the server, has ended the wait for another call.
//   - ErrKeyReused is returned when the key has the result of a call with another Fingerprint.
//   - ErrTypeChanged is returned when the key has a result that was stored with another type.
//   - nogap.ErrRetriesExhausted is returned when fn's transaction has lost MaxAttempts times.
//   - nogap.ErrOutcomeUnknown is returned when the answer to COMMIT was lost, and the database could not be asked before
//     ctx ended. Then it is safe to call Do with the same key again, and with no other key.
//
// After any error but the last nothing was written.
//
// If the answer to COMMIT is lost, Do calls the database again with the same key. It finds its own result, or runs fn
// again. It goes on until ctx ends, so give ctx a deadline. When ctx ends earlier, Do stops waiting, rolls back and
// returns ctx's error. It waits for a COMMIT that is under way for up to one second.
//
// Do in a callback of nogap that has a transaction on the same *sql.DB is an error: use WithTx.
func (s *Store[T]) Do(
	ctx context.Context, key string, fn func(ctx context.Context, tx *sqlx.Tx) (T, error), opts ...DoOption,
) (result T, replayed bool, err error) {
	if fn == nil {
		return result, false, fail(errNoCallback)
	}
	config, _, err := configure(opts)
	if err != nil {
		return result, false, fail(err)
	}
	data, replayed, err := s.s.do(ctx, key, config, func(ctx context.Context, tx *sqlx.Tx) ([]byte, error, error) {
		value, err := fn(ctx, tx)
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
