package distlock

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// Fence keeps the writes of a holder that has lost its lock, and does not know it yet, out of a database. The database
// that is to be protected hands out a token for each holder, and refuses the writes of all tokens but the newest. See
// the package documentation, and Martin Kleppmann, "How to do distributed locking", 2016, where fencing tokens for
// locks of this kind are asked for.
//
// Tokens are numbered per name of a lock in a table of the database, so they keep increasing when Redis loses its data.
// Rows of the table must not be deleted. A Fence is safe for concurrent use.
type Fence struct {
	db     *sql.DB
	source dialect.Source
	table  dialect.Ident
	sql    atomic.Pointer[fenceSQL]
}

type fenceSQL struct {
	mint, guard dialect.Statement
	returning   bool
}

// FenceOption changes how a Fence works. See NewFence. If an option is given twice, the last one counts.
type FenceOption interface {
	applyFence(*fenceConfig) error
}

type fenceOption func(*fenceConfig) error

func (o fenceOption) applyFence(c *fenceConfig) error { return o(c) }

type fenceConfig struct{ dialect nogap.Dialect }

// WithDialect says which dialect the database speaks, so that it is not asked.
func WithDialect(d nogap.Dialect) FenceOption {
	return fenceOption(func(c *fenceConfig) error {
		if d == 0 {
			return fmt.Errorf("distlock: WithDialect(%v)", d)
		}
		c.dialect = d
		return nil
	})
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

// NewFence returns the Fence whose tokens are kept in the named table of db, which may be qualified by a schema. Schema
// tells how to create it.
func NewFence(db *sql.DB, table string, opts ...FenceOption) (*Fence, error) {
	if db == nil {
		return nil, errors.New("distlock: NewFence: the *sql.DB is nil")
	}
	var c fenceConfig
	for i, o := range opts {
		if o == nil {
			return nil, fmt.Errorf("distlock: NewFence: option %d is nil", i)
		}
		if err := o.applyFence(&c); err != nil {
			return nil, err
		}
	}
	ident, err := dialect.Table(table)
	if err != nil {
		return nil, fmt.Errorf("distlock: NewFence: %w", err)
	}
	source, err := dialect.NewSource(db, c.dialect)
	if err != nil {
		return nil, fmt.Errorf("distlock: NewFence: %w", err)
	}
	return &Fence{db: db, source: source, table: ident}, nil
}

// Schema returns the CREATE TABLE statement of the fence's table in the given dialect, for a migration. The statement
// does nothing if the table exists. Schema panics if d is none of the dialects of package nogap.
func (f *Fence) Schema(d nogap.Dialect) string {
	server, err := dialect.Assume(d)
	if err != nil {
		panic(fmt.Sprintf("distlock: Schema(%v): no such dialect", d))
	}
	name, engine := "TEXT", ""
	if server.IsMySQL() {
		name = fmt.Sprintf("VARBINARY(%d)", maxName) // text would compare without regard to case and trailing spaces
		engine = " ENGINE=InnoDB"                    // the guard needs transactions, whatever the default engine is
	}
	return fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (
	name %s NOT NULL PRIMARY KEY,
	token BIGINT NOT NULL,
	writes BIGINT NOT NULL
)%s`, server.Quote(f.table), name, engine)
}

// Mint returns the token of the lease's holder, which is greater than every token of the lock's name before. From now
// on Guard refuses those.
//
// It asks Redis before and after whether the lease is still held, and returns ErrLost if not: so a holder that comes
// too late can't get a token that is newer than its successor's. If it returns nogap.ErrOutcomeUnknown, the number may
// have been used up; to call Mint again is safe then, and after any other error. Tokens handed out earlier for the same
// lease are refused afterwards. A name of more than 1000 bytes gets no token. On PostgreSQL a name must be valid
// UTF-8 without NUL.
func (f *Fence) Mint(ctx context.Context, lease *Lease) (Token, error) {
	if lease == nil {
		return Token{}, errors.New("distlock: Mint: the lease is nil")
	}
	if n := len(lease.name); n > maxName {
		return Token{}, fmt.Errorf("distlock: Mint: the name %.20q… has %d bytes, more than %d", lease.name, n, maxName)
	}
	if err := lease.confirm(ctx); err != nil {
		return Token{}, err
	}
	token := Token{Name: lease.name}
	err := txn.Retry(ctx, txn.Policy{}, func() (err error) {
		token.Number, err = f.next(ctx, lease.name)
		return err
	})
	if err != nil {
		return Token{}, fmt.Errorf("distlock: mint a token of %q: %w", lease.name, err)
	}
	// Only now is it known that nobody else had acquired the lock when the number was taken.
	if err := lease.confirm(ctx); err != nil {
		return Token{}, err
	}
	return token, nil
}

// next takes the next number of a name.
func (f *Fence) next(ctx context.Context, name string) (number int64, err error) {
	conn, err := txn.Acquire(ctx, f.db)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	q, err := f.statements(ctx, conn)
	if err != nil {
		return 0, err
	}
	args := q.mint.Args([]any{name})
	if q.returning {
		err = conn.QueryRow(ctx, q.mint.Text, args, &number)
		return number, err
	}
	res, err := conn.Exec(ctx, q.mint.Text, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// Tx is a transaction: a *sql.Tx or a *sqlx.Tx. A *sql.DB is none, since outside the transaction of the write a guard
// guards nothing.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	Commit() error
	Rollback() error
}

// Guard returns ErrFenced if a later token than this one has been minted for its lock. It must be called in the
// transaction of the write that it guards, before COMMIT, and its error must roll that back. Until the transaction ends
// Mint waits: so a later holder sees all writes of this one, or this one's are refused.
//
// Guard writes to the fence's table, because a Galera cluster certifies nothing else. It may fail like any write: with
// a deadlock or a serialization failure, for example, after which the transaction is to be run again.
func (f *Fence) Guard(ctx context.Context, tx Tx, token Token) error {
	if token.Name == "" || token.Number <= 0 {
		return fmt.Errorf("distlock: Guard: %v is not a token that Mint returned", token)
	}
	q, err := f.statements(ctx, tx)
	if err != nil {
		return fmt.Errorf("distlock: guard %v: %w", token, err)
	}
	res, err := tx.ExecContext(ctx, q.guard.Text, q.guard.Args([]any{token.Name, token.Number})...)
	if err != nil {
		return fmt.Errorf("distlock: guard %v: %w", token, txn.JoinContext(ctx, err))
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("distlock: guard %v: %w", token, err)
	}
	if n == 0 {
		return fmt.Errorf("%w: %v", ErrFenced, token)
	}
	return nil
}

func (f *Fence) statements(ctx context.Context, q dialect.Queryer) (*fenceSQL, error) {
	if s := f.sql.Load(); s != nil {
		return s, nil
	}
	server, err := f.source.Server(ctx, q)
	if err != nil {
		return nil, err
	}
	table := server.Quote(f.table)
	s := &fenceSQL{
		guard: server.Compile("UPDATE " + table + " SET writes = writes + 1 WHERE name = {1} AND token = {2}"),
	}
	if server.IsMySQL() {
		s.mint = server.Compile("INSERT INTO " + table + " (name, token, writes) VALUES ({1}, LAST_INSERT_ID(1), 0)" +
			" ON DUPLICATE KEY UPDATE token = LAST_INSERT_ID(token + 1)")
	} else {
		s.returning = true
		s.mint = server.Compile("INSERT INTO " + table + " AS fence (name, token, writes) VALUES ({1}, 1, 0)" +
			" ON CONFLICT (name) DO UPDATE SET token = fence.token + 1 RETURNING token")
	}
	f.sql.Store(s)
	return s, nil
}
