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
)

// WithNamedLock runs fn in a transaction, as WithRowLock does, while it holds the lock of that name in the database: for
// what has no row to lock yet, such as the first invoice of a year. The lock is free again after COMMIT or ROLLBACK. It
// excludes other callers with the same name and database, and nothing else.
//
// On PostgreSQL it is a transaction-level advisory lock on a 64-bit hash of the name, which also works behind PgBouncer.
// In a transaction with REPEATABLE READ what fn reads could be older than the lock there, so that is an error; SERIALIZABLE
// is safe if all callers with the name use it. On MySQL and MariaDB it is GET_LOCK on a hash of the name and of the
// current database. Galera does not carry these locks to its other nodes, and CockroachDB ignores its advisory locks, so
// on both WithNamedLock is an error. On SQLite it is the write lock of the whole database.
//
// Of the options, modes other than ForUpdate make no sense.
func WithNamedLock(ctx context.Context, db *sql.DB, name string, fn func(ctx context.Context, tx *sqlx.Tx) error, opts ...Option) error {
	if fn == nil {
		return failed(errNoCallback)
	}
	if name == "" {
		return failed(errors.New("the name is empty"))
	}
	c, err := configure(opts)
	if err != nil {
		return failed(err)
	}
	if c.mode != dialect.ForUpdate {
		return failed(fmt.Errorf("%s: a named lock has no modes", modeNames[c.mode]))
	}
	h, err := newHold(ctx, db, c)
	if err != nil {
		return failed(err)
	}
	inServer, err := h.namedLock(name)
	if err != nil {
		return failed(err)
	}
	return h.run(ctx, []lock{{lockID: lockID{key: name}}}, inServer, fn)
}

func (h *hold) namedLock(name string) (func(context.Context, *locker, *sqlx.Tx) error, error) {
	if h.server.Product == dialect.CockroachDB {
		return nil, fmt.Errorf("%v has no named locks: its advisory locks do nothing", h.server)
	}
	if h.server.Is(nogap.Postgres) && h.isolation == sql.LevelRepeatableRead {
		return nil, errStaleSnapshot
	}
	return func(ctx context.Context, l *locker, tx *sqlx.Tx) error {
		var err error
		switch {
		case h.server.Is(nogap.Postgres):
			err = l.advisoryLock(ctx, tx, name)
		case h.server.IsMySQL():
			if err = h.pool.refuseGalera(ctx, tx); err == nil {
				err = l.getLock(ctx, tx, name)
			}
		default:
			err = l.do(ctx, tx, dialect.Ident{}, func(string) error { return nil })
		}
		if err != nil {
			return fmt.Errorf("the name %q: %w", name, err)
		}
		return nil
	}, nil
}

var errStaleSnapshot = errors.New("under REPEATABLE READ the transaction would see the database as it was before it had " +
	"the lock; use READ COMMITTED or SERIALIZABLE")

// advisoryLock takes a lock that ends with the transaction. One that ends with the session would be stranded behind a
// PgBouncer that pools transactions.
func (l *locker) advisoryLock(ctx context.Context, tx *sqlx.Tx, name string) error {
	sum := sha256.Sum256([]byte("nogap/pessimistic/" + name))
	id := int64(binary.BigEndian.Uint64(sum[:8]))
	// The level may be the server's default. It is asked for in the same statement, which costs nothing.
	lock := "SELECT pg_advisory_xact_lock($1)::text, current_setting('transaction_isolation')"
	if l.noWait {
		lock = "SELECT pg_try_advisory_xact_lock($1)::text, current_setting('transaction_isolation')"
	}
	var got, isolation string
	err := l.do(ctx, tx, dialect.Ident{}, func(string) error {
		return tx.QueryRowContext(ctx, lock, id).Scan(&got, &isolation)
	})
	switch {
	case err != nil:
		return err
	case l.noWait && got != "true":
		return ErrLocked
	case isolation == "repeatable read":
		return errStaleSnapshot
	}
	return nil
}

// The name is hashed since MySQL takes 64 characters at most, and ignores their case, and first of all here, since a server
// hashes what the character set of the connection makes of it. The lock itself would be the whole server's, not the
// database's.
const lockName = "CONCAT('nogap:', LEFT(SHA2(CONCAT(COALESCE(DATABASE(), ''), '/', ?), 256), 40))"

// getLock takes a lock of the session, and sees to it that the end of the transaction is its end.
func (l *locker) getLock(ctx context.Context, tx *sqlx.Tx, name string) error {
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
	seconds := "31536000"
	switch {
	case l.noWait:
		seconds = "0"
	case l.timeout > 0:
		left, err := l.left()
		if err != nil {
			return err
		}
		seconds = strconv.Itoa(ceil(left, time.Second))
		if l.server.Is(nogap.MariaDB) {
			seconds = strconv.FormatFloat(left.Seconds(), 'f', 3, 64)
		}
	}
	// After COMMIT: before it, the next one would not see what this one has written.
	l.locks = append(l.locks, func(ctx context.Context, q querier) error {
		var released sql.NullInt64
		err := q.QueryRowContext(ctx, "SELECT RELEASE_LOCK("+lockName+")", digest).Scan(&released)
		if err == nil && released.Int64 != 1 {
			err = errors.New("RELEASE_LOCK found nothing to release")
		}
		return err
	})
	start := time.Now()
	var got sql.NullInt64
	err := tx.QueryRowContext(ctx, "SELECT GET_LOCK("+lockName+", "+seconds+")", digest).Scan(&got)
	*l.waited += time.Since(start)
	switch {
	case err != nil:
		return err // whether it was taken is not known
	case got.Int64 == 1:
		return nil
	}
	l.locks = nil
	switch {
	case !got.Valid:
		return errors.New("GET_LOCK was interrupted")
	case l.noWait:
		return ErrLocked
	}
	return ErrLockTimeout
}

// refuseGalera returns an error on a node of a Galera cluster.
func (p *pool) refuseGalera(ctx context.Context, tx *sqlx.Tx) error {
	known := p.galera.Load()
	if known == nil {
		var variable, value string
		err := tx.QueryRowContext(ctx, "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'").Scan(&variable, &value)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		on := value == "ON"
		known = &on
		p.galera.Store(known)
	}
	if *known {
		return errors.New("a Galera cluster has no named locks: GET_LOCK holds on one node only")
	}
	return nil
}
