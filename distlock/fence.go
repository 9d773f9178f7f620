package distlock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/option"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// A Fence refuses the writes of a holder that has lost its lock without knowing it. It is kept in the database that
// is to be protected. The database gives each holder a token, and refuses the writes of all tokens but the newest.
// See the package documentation, and Martin Kleppmann, "How to do distributed locking", 2016, which describes fencing
// tokens for such locks.
//
// Tokens are numbers that increase for each name of a lock. They are in a table of the database, so they keep
// increasing when Redis loses its data. Rows of the table must not be deleted. A Fence is safe for concurrent use.
type Fence struct {
	t   *table.Table
	sql table.SQL[fenceSQL]
}

type fenceSQL struct {
	mint, guard dialect.Statement
	returning   bool
	missing     bool // the server does not list the table
}

// FenceOption changes how a Fence works. See NewFence. An option that is given twice is an error.
type FenceOption interface {
	fenceOption() option.Option[table.Options]
}

type fenceOption option.Option[table.Options]

func (o fenceOption) fenceOption() option.Option[table.Options] {
	return option.Option[table.Options](o)
}

// WithDialect says which SQL the database speaks, so that the server is not asked.
func WithDialect(d nogap.Dialect) FenceOption {
	return fenceOption(table.WithDialect(d, func(o *table.Options, d nogap.Dialect) { o.Dialect = d }))
}

// Token says which holder of a lock a write comes from. Numbers of later holders of the same lock are greater.
type Token struct {
	Name   string // the lock
	Number int64
}

// String returns the token as "name#number".
func (t Token) String() string { return fmt.Sprintf("%s#%d", t.Name, t.Number) }

// maxName is how many bytes of a lock's name the table takes. Without a strict sql_mode MySQL and MariaDB would cut a
// longer name off, and give locks that begin alike one row.
const maxName = 1000

// NewFence returns the Fence whose tokens are kept in the named table of db, which may be qualified by a schema. It
// returns an error if db is nil, or if the name or an option is invalid. Nothing is sent. Schema returns the
// statement that makes the table. On MySQL and MariaDB its engine is InnoDB. The first use looks at the table. It
// returns an error for a table that could not hold the tokens: one with an engine without transactions, or a view or
// rule that replaces the statements.
func NewFence(db *sql.DB, name string, opts ...FenceOption) (*Fence, error) {
	key, _ := dialect.Columns("name")
	o := table.Options{Key: key, Classify: classify}
	_, err := option.Apply(&o, opts, FenceOption.fenceOption)
	if err != nil {
		return nil, fmt.Errorf("distlock: NewFence: %w", err)
	}
	t, err := table.Bind(db, name, o)
	if err != nil {
		return nil, fmt.Errorf("distlock: NewFence: %w", err)
	}
	return &Fence{t: t}, nil
}

// Schema returns the CREATE TABLE IF NOT EXISTS statement of the fence's table in a dialect, for a migration. It panics if
// the dialect is none of nogap's.
func (f *Fence) Schema(d nogap.Dialect) string {
	server, err := dialect.Assume(d)
	if err != nil {
		panic("distlock: Schema: " + err.Error())
	}
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (
	name %s NOT NULL PRIMARY KEY,
	token BIGINT NOT NULL,
	writes BIGINT NOT NULL
)%s`, server.Quote(f.t.Name), server.ExactText(maxName), server.TableOptions())
}

// Mint returns the token of the lease's holder, which is greater than every token of the lock's name before. From
// then on Guard refuses the earlier ones, also earlier tokens of the same lease.
//
// Mint asks Redis before and after whether the lease is still held. ErrLost is returned if it is not. So a holder
// that comes too late can't get a token that is newer than its successor's. nogap.ErrOutcomeUnknown is returned if
// the number may have been used up. It is safe to call Mint again after that, and after any other error. When ctx
// ends, Mint returns ctx's error.
//
// A name of more than 1000 bytes is an error. In a table that was not made with Schema, so is a name that its column
// takes for another lock's ("a" and "A"). On PostgreSQL a name must be valid UTF-8 without NUL.
func (f *Fence) Mint(ctx context.Context, lease *Lease) (Token, error) {
	if lease == nil || lease.locker == nil {
		return Token{}, errors.New("distlock: Mint: the lease is nil")
	}
	if n := len(lease.Name()); n > maxName {
		return Token{}, fmt.Errorf("distlock: Mint: the name %.20q… has %d bytes, more than %d", lease.Name(), n, maxName)
	}
	token := Token{Name: lease.Name()}
	err := f.t.Operation(ctx, "distlock.Mint", func(ctx context.Context, op *observe.Op) (err error) {
		if err := lease.confirm(ctx); err != nil {
			return err
		}
		if token.Number, err = f.next(ctx, op, lease.Name()); err != nil {
			return fmt.Errorf("distlock: mint a token of %q: %w", lease.Name(), err)
		}
		// Only now is it known that nobody else had acquired the lock when the number was taken.
		return lease.confirm(ctx)
	})
	if err != nil {
		return Token{}, err
	}
	return token, nil
}

// next takes the next number of a name.
func (f *Fence) next(ctx context.Context, op *observe.Op, name string) (number int64, err error) {
	if err := f.t.CheckFree(ctx, []any{name}); err != nil {
		return 0, err
	}
	q, err := f.statements(ctx, f.t)
	if err != nil {
		return 0, err
	}
	args := q.mint.Args([]any{name})
	err = f.t.Statement(ctx, op, func(r txn.Runner) error {
		if q.returning {
			return r.QueryRow(ctx, q.mint.Text, args, &number)
		}
		res, err := r.Exec(ctx, q.mint.Text, args...)
		if err != nil {
			return err
		}
		if number, err = txn.LastInsertID(ctx, r, res); err != nil {
			return txn.Unread(r, err)
		}
		return nil
	})
	if err == nil && number == 0 {
		err = errOtherName
	}
	return number, f.failed(q, err)
}

var errOtherName = errors.New("the column name takes this name for that of another lock, since it does not compare bytes, and has " +
	"a row for that: create the table with the statement that Fence.Schema returns")

// failed names the table in an error of one of its statements, and says what to do if it is not there.
func (f *Fence) failed(q *fenceSQL, err error) error {
	switch {
	case err == nil:
		return nil
	case q.missing:
		return fmt.Errorf("%s: %w (if the table is missing, create it with the statement that Fence.Schema returns)", f.t.Name, err)
	}
	return fmt.Errorf("%s: %w", f.t.Name, err)
}

// Guard returns ErrFenced if a later token than this one has been minted for its lock. Call it in the transaction of
// the write that it guards, before COMMIT. If it returns an error, roll the transaction back. Until the transaction
// ends, Mint waits. So a later holder sees all writes of this one, or this one's are refused.
//
// Guard writes to the fence's table, because a Galera cluster certifies nothing else. It may fail like any write: if
// nogap.Retryable is true for its error, run the transaction again. When ctx ends, Guard returns ctx's error.
//
// What is no transaction (nil or a *sql.DB, for example; see [nogap.Tx]) is an error, and nothing is sent: outside
// the transaction of the write Guard would protect nothing.
func (f *Fence) Guard(ctx context.Context, tx nogap.Tx, token Token) error {
	if token.Name == "" || token.Number <= 0 {
		return fmt.Errorf("distlock: Guard: %v is not a token that Mint returned", token)
	}
	guard := func(ctx context.Context, op *observe.Op) error { return f.guard(ctx, op, f.t.In(tx), token) }
	if _, _, ours := holding.Known(ctx, tx); ours {
		return f.t.Operation(ctx, "distlock.Guard", guard)
	}
	return guard(ctx, nil)
}

func (f *Fence) guard(ctx context.Context, op *observe.Op, t *table.Table, token Token) error {
	current := false
	err := t.CheckFree(ctx, []any{token.Name})
	var q *fenceSQL
	if err == nil {
		q, err = f.statements(ctx, t)
	}
	if err == nil {
		err = t.InProven(ctx, op, func(r txn.Runner) (err error) {
			_, current, err = txn.ExecOne(ctx, r, q.guard.Text, q.guard.Args([]any{token.Name, token.Number})...)
			return f.failed(q, err)
		})
	}
	switch {
	case err != nil:
		return fmt.Errorf("distlock: guard %v: %w", token, err)
	case !current:
		return fmt.Errorf("%w: %v", ErrFenced, token)
	}
	t.Wrote(ctx, []any{token.Name})
	return nil
}

func (f *Fence) statements(ctx context.Context, t *table.Table) (*fenceSQL, error) {
	return f.sql.Of(ctx, t, func(_ context.Context, _ txn.Runner, s dialect.Server, look dialect.Look) (*fenceSQL, error) {
		if err := t.CheckWritten(look, dialect.Insert|dialect.Update); err != nil {
			return nil, err
		}
		name := s.Quote(t.Name)
		q := &fenceSQL{
			guard:     s.Compile("UPDATE " + name + " SET writes = writes + 1 WHERE name = {1} AND token = {2}"),
			returning: s.OnConflict,
			missing:   !look.Listed,
		}
		// The row of another name, for which a column that ignores case takes it, stays as it is, and the number is 0.
		if s.OnConflict {
			q.mint = s.Compile("INSERT INTO " + name + " AS fence (name, token, writes) VALUES ({1}, 1, 0)" +
				" ON CONFLICT (name) DO UPDATE SET token = CASE WHEN " + s.SameBytes("fence.name", "excluded.name") +
				" THEN fence.token + 1 ELSE fence.token END" +
				" RETURNING CASE WHEN " + s.SameBytes("name", "{1}") + " THEN token ELSE 0 END")
		} else {
			q.mint = s.Compile("INSERT INTO " + name + " (name, token, writes) VALUES ({1}, LAST_INSERT_ID(1), 0)" +
				" ON DUPLICATE KEY UPDATE token = CASE WHEN " + s.SameBytes("name", "VALUES(name)") +
				" THEN LAST_INSERT_ID(token + 1) ELSE token + LAST_INSERT_ID(0) END")
		}
		return q, nil
	})
}

// classify names the outcome of the package's own errors for observers.
func classify(err error) nogap.Outcome {
	if errors.Is(err, ErrNotAcquired) || errors.Is(err, ErrFenced) {
		return nogap.OutcomeRefused
	}
	return ""
}
