package pessimistic

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/lockwait"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/txn"
)

// WithNamedLock runs fn in a transaction, as [WithRowLock] does, while it holds the lock of that name in the
// database. It is for things that have no row to lock yet, such as the first invoice of a year. The lock is free
// again after COMMIT or ROLLBACK. It excludes other callers with the same name and database, and nothing else. See
// [WithRowLock] for the errors and for the end of ctx.
//
// On PostgreSQL it is a transaction-level advisory lock on a 64-bit hash of the name, which also works behind
// PgBouncer. In a transaction with REPEATABLE READ what fn reads could be older than the lock there, so that is an
// error. SERIALIZABLE is safe if all callers with the name use it. On MySQL and MariaDB it is GET_LOCK on a hash of
// the name and of the current database. Galera does not carry these locks to its other nodes, and CockroachDB ignores
// its advisory locks, so on both WithNamedLock returns an error. On SQLite it is the write lock of the whole
// database.
//
// The lock belongs to the connection. If that dies, the server frees the name at once, and the next caller can enter
// while fn still runs. fn learns of it by its next statement, or by COMMIT, which fails. Nothing that fn wrote is
// applied then. So the lock is for what is written through tx, and not for work outside the database.
//
// ForNoKeyUpdate, ForShare and ForKeyShare are not options of WithNamedLock.
func WithNamedLock(ctx context.Context, db *sql.DB, name string, fn func(ctx context.Context, tx *sqlx.Tx) error, opts ...Option) error {
	c, given, err := configure(opts)
	if err == nil {
		err = given.Refuse("WithNamedLock", "ForNoKeyUpdate", "ForShare", "ForKeyShare")
	}
	switch {
	case fn == nil:
		err = errNoCallback
	case err == nil && name == "":
		err = errors.New("the name is empty")
	case err == nil && db == nil:
		err = errNoDB
	}
	if err != nil {
		return fail(err)
	}
	observers, what := perdb.Observers.Of(db, nil), nogap.Operation{Name: "pessimistic.WithNamedLock"}
	return observe.Do(ctx, observers, what, classify, func(ctx context.Context, op *observe.Op) error {
		s, err := newSection(ctx, op, db, c)
		if err != nil {
			return fail(err)
		}
		l := &lock{Lock: holding.Lock{Key: name}, name: name}
		s.what, s.locks, s.callback = l, []*lock{l}, fn
		if s.acquire, err = namedLock(s.server, db, &c, l); err != nil {
			return fail(err)
		}
		return s.run(ctx)
	})
}

// namedLock returns what takes the lock in the server.
func namedLock(s dialect.Server, db *sql.DB, c *config, l *lock) (func(context.Context, *session) error, error) {
	switch s.NamedLocks {
	case dialect.AdvisoryLocks:
		if c.Isolation == sql.LevelRepeatableRead {
			return nil, errStaleSnapshot
		}
		return func(ctx context.Context, s *session) error { return s.advisoryLock(ctx, l) }, nil
	case dialect.UserLocks, dialect.UserLocksInFractions:
		return func(ctx context.Context, s *session) error { return s.userLock(ctx, db, l) }, nil
	case dialect.DatabaseLock:
		if c.noWait {
			return nil, fmt.Errorf("NoWait: %v can't say who would be waited for; use Timeout", s)
		}
		return func(ctx context.Context, s *session) error {
			return s.waitFor(ctx, l, dialect.Ident{}, func(string) error { return nil })
		}, nil
	}
	return nil, fmt.Errorf("%v has no named locks that hold", s)
}

var errStaleSnapshot = errors.New("under REPEATABLE READ the transaction would see the database as it was before it had " +
	"the lock; use READ COMMITTED or SERIALIZABLE")

// advisoryLock takes a lock that ends with the transaction. One that ends with the session would be stranded behind a
// PgBouncer that pools transactions.
func (s *session) advisoryLock(ctx context.Context, l *lock) error {
	sum := sha256.Sum256([]byte("nogap/pessimistic/" + l.name))
	id := int64(binary.BigEndian.Uint64(sum[:8]))
	// The level may be the server's default. It is asked for in the same statement, which costs nothing.
	query := "SELECT pg_advisory_xact_lock($1)::text, current_setting('transaction_isolation')"
	if s.noWait {
		query = "SELECT pg_try_advisory_xact_lock($1)::text, current_setting('transaction_isolation')"
	}
	var got, isolation string
	err := s.waitFor(ctx, l, dialect.Ident{}, func(string) error {
		return s.tx.QueryRowContext(ctx, query, id).Scan(&got, &isolation)
	})
	switch {
	case err != nil:
		return err
	case s.noWait && got != "true":
		return l.refused(s.waited.total, ErrLocked)
	case isolation == "repeatable read":
		return l.failed(errStaleSnapshot)
	}
	return nil
}

// The name is hashed since MySQL takes 64 characters at most, and ignores their case, and first of all here, since a server
// hashes what the character set of the connection makes of it. The lock itself would be the whole server's, not the
// database's.
const lockName = "CONCAT('nogap:', LEFT(SHA2(CONCAT(COALESCE(DATABASE(), ''), '/', ?), 256), 40))"

// userLock takes a lock of the session, and sees to it that the end of the transaction is its end.
func (s *session) userLock(ctx context.Context, db *sql.DB, l *lock) error {
	galera, err := txn.IsGalera(ctx, db, s.tx, s.server)
	seconds := ""
	if err == nil {
		seconds, err = s.userLockWait()
	}
	switch {
	case err != nil:
		return s.explain(l, err)
	case galera:
		return l.failed(errGalera)
	}
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(l.name)))
	s.releaseAfterwards(digest)
	start := time.Now()
	var got sql.NullInt64
	err = s.tx.QueryRowContext(ctx, "SELECT GET_LOCK("+lockName+", "+seconds+")", digest).Scan(&got)
	s.waited.inServer(start)
	switch {
	case err != nil:
		return s.explain(l, err) // whether it was taken is not known
	case got.Int64 == 1:
		return nil
	}
	s.locks = nil
	switch {
	case !got.Valid:
		return l.failed(errors.New("GET_LOCK was interrupted"))
	case s.noWait:
		return l.refused(s.waited.total, ErrLocked)
	}
	return l.refused(s.waited.total, ErrLockTimeout)
}

var errGalera = errors.New("a Galera cluster has no named locks: GET_LOCK holds on one node only")

// userLockWait returns how many seconds GET_LOCK is to wait, in SQL.
func (s *session) userLockWait() (seconds string, err error) {
	switch {
	case s.noWait:
		return "0", nil
	case s.timeout == 0:
		return "31536000", nil
	}
	left, err := s.left()
	if s.server.NamedLocks == dialect.UserLocksInFractions {
		return strconv.FormatFloat(left.Seconds(), 'f', 3, 64), err
	}
	return strconv.Itoa(lockwait.Ceil(left, time.Second)), err
}

// releaseAfterwards releases the lock after COMMIT: before it, the next one would not see what this one has written.
func (s *session) releaseAfterwards(digest string) {
	s.locks = append(s.locks, func(ctx context.Context, q lockwait.Querier) error {
		var released sql.NullInt64
		err := q.QueryRowContext(ctx, "SELECT RELEASE_LOCK("+lockName+")", digest).Scan(&released)
		if err == nil && released.Int64 != 1 {
			err = errors.New("RELEASE_LOCK found nothing to release")
		}
		return err
	})
}
