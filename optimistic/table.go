package optimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// Table reads and writes the rows of a table as values of T, a struct with a field for each column that matters, and
// guards every write with the version that was read. Make one with NewTable and share it: callers of Modify queue for a
// contended row within one Table, WithTx's copies aside.
//
// A Table is safe for concurrent use. A *T is not: it belongs to one goroutine at a time.
type Table[T any] struct {
	*table
	tx   *sql.Tx
	inTx bool
}

// table is what does not depend on T.
type table struct {
	db        *sql.DB
	source    dialect.Source
	name      dialect.Ident
	mapping   mapping
	kind      kind
	policy    policy
	lockAfter int
	prepared  atomic.Pointer[statements]
	lines     lines
}

// NewTable returns the Table of a table, which may be qualified by its schema. It does not use the database: what the
// server alone can know comes as an error of the first call.
//
// The fields of T are mapped to columns as sqlx does it: by their db tags, else by their names in lower case, those of
// embedded structs included; db:"-" leaves a field out. Columns that T does not have are left alone by Update. T must have
// the key and the version column, and none that the server generates, since Update writes them all.
func NewTable[T any](db *sql.DB, name string, opts ...Option) (*Table[T], error) {
	t, err := newTable(db, name, reflect.TypeFor[T](), opts)
	if err != nil {
		return nil, fmt.Errorf("optimistic: table %q: %w", name, err)
	}
	return &Table[T]{table: t}, nil
}

func newTable(db *sql.DB, name string, row reflect.Type, opts []Option) (*table, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	t := &table{db: db, policy: o.policy, lockAfter: o.lockAfter}
	if t.source, err = dialect.NewSource(db, o.dialect); err != nil {
		return nil, err
	}
	if t.name, err = dialect.Table(name); err != nil {
		return nil, err
	}
	if t.mapping, err = newMapping(row, o.key, o.version); err != nil {
		return nil, err
	}
	if t.kind, err = kindOf(t.mapping.version); err != nil {
		return nil, err
	}
	if t.kind == xmin && len(t.mapping.data) == 0 {
		return nil, fmt.Errorf("%v has no column to write", row)
	}
	return t, nil
}

// WithTx returns the Table for use inside tx: its methods run their statements there and never try again, since only
// the owner of a transaction may run it again. Commit is the caller's; until then a nil error means nothing. The version
// in an item that was written stays bumped even if tx is rolled back: read the row again then.
//
// A transaction under REPEATABLE READ or SERIALIZABLE goes on seeing the row that it lost with, so a new attempt needs a
// new transaction; on some servers a lost swap is a serialization failure there, which RetryOnVersionConflict knows as
// well. With xmin, two copies of one row that the same transaction has both written have the same version:
// don't write both.
func (t *Table[T]) WithTx(tx *sql.Tx) *Table[T] {
	return &Table[T]{table: t.table, tx: tx, inTx: true}
}

// Get reads the row with these key values. No such row is sql.ErrNoRows, wrapped; more than one is an error, too.
func (t *Table[T]) Get(ctx context.Context, key ...any) (*T, error) {
	if err := t.mapping.checkKey(key); err != nil {
		return nil, t.fail(err)
	}
	var item *T
	err := t.read(ctx, func(r reader, s *statements) (err error) {
		item, err = load[T](ctx, t.table, r, s.load, key)
		return err
	})
	if err != nil {
		return nil, t.fail(err)
	}
	return item, nil
}

// Update writes all columns of T if the row still has the version that item was read with, and gives row and item the
// next one. The other columns of the table are left alone.
//
// A row that somebody else wrote in between is a *ConflictError, one that is gone is sql.ErrNoRows, wrapped. If the
// connection is lost in mid-statement, the error is nogap.ErrOutcomeUnknown unless the version is a random token and
// reading it back shows that the write was applied. A deadlock or a serialization failure is tried again, outside a
// transaction; the guard decides then. After any error item is unchanged.
func (t *Table[T]) Update(ctx context.Context, item *T) error {
	if item == nil {
		return t.fail(errNilItem)
	}
	row := reflect.ValueOf(item).Elem()
	c, err := t.newChange(row)
	if err == nil {
		err = c.take(row)
	}
	if err == nil {
		err = c.settle(ctx, t.write(ctx, c, c.swap))
	}
	if err != nil {
		return t.fail(err)
	}
	c.store(row)
	return nil
}

// Delete deletes the row if it still has the version that item was read with. The errors are those of Update, except
// that a lost connection always is nogap.ErrOutcomeUnknown. item is left as it is.
func (t *Table[T]) Delete(ctx context.Context, item *T) error {
	if item == nil {
		return t.fail(errNilItem)
	}
	c, err := t.newChange(reflect.ValueOf(item).Elem())
	if err == nil {
		err = t.write(ctx, c, c.remove)
	}
	if err != nil {
		return t.fail(err)
	}
	return nil
}

// write makes one guarded write, and makes it again while the server says that its transaction must be run again, unless
// that is the caller's.
func (t *Table[T]) write(ctx context.Context, c *change, how func(context.Context, txn.Runner, *statements) error) error {
	once := func() error {
		return t.run(ctx, func(r txn.Runner, s *statements) error {
			err := how(ctx, r, s)
			if err == errStale {
				return c.lost(ctx, r, s, 1)
			}
			return err
		})
	}
	if t.inTx {
		return once()
	}
	return txn.Retry(ctx, txn.Policy{MaxAttempts: t.policy.attempts, Backoff: t.policy.backoff}, once)
}

// run calls f with what runs single statements: on a connection that is given back afterwards, or in the transaction.
func (t *Table[T]) run(ctx context.Context, f func(txn.Runner, *statements) error) error {
	if t.inTx {
		r, err := t.runner()
		if err != nil {
			return err
		}
		return with(ctx, t.table, r, f)
	}
	err := txn.With(ctx, t.db, func(c *txn.Conn) error { return with(ctx, t.table, txn.Runner(c), f) })
	if errors.Is(err, errNotUnique) { // and there is no transaction to roll back
		err = fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err)
	}
	return err
}

// read calls f with what reads.
func (t *Table[T]) read(ctx context.Context, f func(reader, *statements) error) error {
	if t.inTx {
		r, err := t.runner()
		if err != nil {
			return err
		}
		return with(ctx, t.table, reader(r), f)
	}
	return with(ctx, t.table, reader(pool{t.db}), f)
}

func (t *Table[T]) runner() (txn.Runner, error) {
	if t.tx == nil {
		return nil, errors.New("WithTx was given no transaction")
	}
	return txn.In(t.tx), nil
}

// with calls f with the table's SQL.
func with[R reader](ctx context.Context, t *table, r R, f func(R, *statements) error) error {
	s, err := t.statements(ctx, r)
	if err != nil {
		return err
	}
	return f(r, s)
}

// reader is the part of a txn.Runner that writes nothing.
type reader interface {
	dialect.Queryer
	Read(ctx context.Context, query string, args []any, dest ...any) error
}

// pool reads on any connection. What database/sql repeats by itself, when a connection turns out to be dead, does no harm
// here.
type pool struct{ *sql.DB }

func (p pool) Read(ctx context.Context, query string, args []any, dest ...any) error {
	return txn.ReadRow(ctx, p.DB, query, args, dest...)
}

// statements returns the table's SQL, which is made when the first call knows the server.
func (t *table) statements(ctx context.Context, r reader) (*statements, error) {
	if s := t.prepared.Load(); s != nil {
		return s, nil
	}
	server, err := t.source.Server(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := t.checkKind(ctx, r, server); err != nil {
		return nil, err
	}
	s, err := newStatements(server, t.name, t.mapping, t.kind)
	if err != nil {
		return nil, err
	}
	t.prepared.Store(s)
	return s, nil
}

// fail marks an error as the package's own, and says of which table it is.
func (t *table) fail(err error) error {
	if conflict := (*ConflictError)(nil); errors.As(err, &conflict) {
		return err // says so itself
	}
	return fmt.Errorf("optimistic: table %q: %w", t.name, err)
}

func load[T any](ctx context.Context, t *table, r reader, statement dialect.Statement, key []any) (*T, error) {
	item := new(T)
	row := reflect.ValueOf(item).Elem()
	dest := make([]any, len(t.mapping.all))
	for i, c := range t.mapping.all {
		dest[i] = c.target(row)
	}
	err := r.Read(ctx, statement.Text, statement.Args(key), dest...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, noRow(key)
	case err != nil:
		return nil, fmt.Errorf("key %v: %w", key, err)
	}
	return item, nil
}

func noRow(key []any) error { return fmt.Errorf("no row with key %v: %w", key, sql.ErrNoRows) }
