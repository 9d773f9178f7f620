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
	queue keyqueue.Queue[place]
	lost  lostTries
}

// place is a key of a table.
type place struct{ table, scope, key string }

var allCalls perdb.Map[calls]

// New returns the Store of the named table of db, which may be qualified by a schema. Nothing is sent. Schema tells how to make
// the table; the first use looks at it once. The options are Scope and WithDialect.
func New[T any](db *sql.DB, table string, opts ...Option) (*Store[T], error) {
	s, err := newStore(db, table, shapeOf(reflect.TypeFor[T]()), opts)
	if err != nil {
		return nil, fail(err)
	}
	return &Store[T]{s}, nil
}

func newStore(db *sql.DB, name, shape string, opts []Option) (*store, error) {
	var c storeConfig
	if _, err := option.Apply(&c, opts, Option.storeOption); err != nil {
		return nil, err
	}
	key, _ := dialect.Columns("scope", "idempotency_key")
	t, err := table.Bind(db, name, table.Options{Key: key, Dialect: c.dialect, Classify: classify})
	if err != nil {
		return nil, err
	}
	return &store{t: t, sql: new(table.SQL[statements]), scope: c.scope, shape: shape, calls: allCalls.Of(db, nil)}, nil
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

// Do runs fn in a transaction, stores its result under the key in the same transaction, and commits both. A later call with the
// key does not run fn: it returns the stored result, and replayed is true. A call that comes while the first one runs waits for
// it; NoWait and Timeout bound that. The result that is returned is what its JSON keeps of it, for the first call too.
//
// The key has 1 to 255 bytes, which are compared exactly, and no NUL.
//
// If fn returns an error, panics or calls runtime.Goexit, or if ctx ends, the transaction is rolled back and nothing is stored, so
// the next call runs fn. fn's error comes back as it is. All that fn does must go through tx. fn may run more than once, in
// another transaction each time: after a deadlock, for example, and after a COMMIT that was lost before it arrived. It must
// return the errors of tx.
//
// If the answer to COMMIT is lost, Do calls the database again with the same key, and finds its own result or runs fn anew. If
// that does not succeed before ctx ends, the error wraps nogap.ErrOutcomeUnknown: then it is safe to call Do with the same key
// again, and with no other one. It goes on as long as ctx lets it, so give ctx a deadline. After any other error nothing has
// been written.
//
// ErrInProgress is returned with NoWait while another call runs, nogap.ErrLockTimeout when Timeout or a limit of the server ends
// the wait, ErrKeyReused for another Fingerprint, ErrTypeChanged for a result that was stored with another type, and
// nogap.ErrRetriesExhausted when fn's transaction has lost MaxAttempts times.
//
// Do in a callback of nogap that has a transaction on the same *sql.DB is an error: use WithTx.
func (s *Store[T]) Do(
	ctx context.Context, key string, fn func(ctx context.Context, tx *sqlx.Tx) (T, error), opts ...DoOption,
) (result T, replayed bool, err error) {
	if fn == nil {
		return result, false, fail(errNoCallback)
	}
	data, replayed, err := s.s.do(ctx, key, opts, func(ctx context.Context, tx *sqlx.Tx) ([]byte, error, error) {
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
