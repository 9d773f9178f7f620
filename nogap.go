package nogap

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap/internal/sqlerr"
)

// Dialect is the SQL dialect that a database speaks. A server that speaks another one's protocol and SQL counts as
// that one: CockroachDB and YugabyteDB are Postgres, TiDB is MySQL.
//
// The server is asked which one it is at the first use, once for each *sql.DB. WithDialect, an option of every
// package that speaks SQL, says it instead. The zero Dialect is none of them.
type Dialect int

// The dialects.
const (
	Postgres Dialect = iota + 1
	MySQL
	MariaDB
	SQLite
)

// String returns the name of the dialect: "PostgreSQL", "MySQL", "MariaDB" or "SQLite".
func (d Dialect) String() string {
	switch d {
	case Postgres:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	case MariaDB:
		return "MariaDB"
	case SQLite:
		return "SQLite"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// Tx is an open transaction of the caller's: a *sql.Tx, a *sqlx.Tx, GORM's ConnPool inside a transaction, or the *sql.Tx
// that bun.Tx embeds.
//
// Every WithTx, LockRow and Guard takes one. What is no transaction is an error before anything is sent: a nil of any type,
// a *sql.DB, a *sqlx.DB, GORM's pool outside a transaction. bun.Tx itself is an error too, since it rewrites the
// placeholders of the statements. Pass the Tx that it embeds. Other types, such as a *sql.Conn, are accepted. Calls that
// take locks or send several statements first prove, with a savepoint, that they are in a transaction.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Key identifies a row by the values of its key columns, in their order. Where one value is enough, a method takes it
// without a Key.
type Key []any

// Errors that every package returns. They are wrapped, so test for them with errors.Is.
var (
	// ErrOutcomeUnknown is returned when a write may or may not have been applied. The connection was lost after the
	// statement or the COMMIT had been handed to the driver and before its answer came back, or it was given up because
	// there was no answer one second after the end of the context. It is also returned when a write was applied, and its
	// result can't be read. nogap never repeats such a write. It is wrapped together with its cause. The caller decides what
	// to do: the page docs/outcome-unknown.md has three ways.
	//
	// A write that failed with any other error has not been applied.
	ErrOutcomeUnknown = errors.New("nogap: outcome unknown, the write may have been applied")
	// ErrRetriesExhausted is returned when every attempt lost against other transactions. It is wrapped together with
	// the error of the last attempt. Nothing was written.
	ErrRetriesExhausted = errors.New("nogap: retries exhausted")
	// ErrLockTimeout is returned when a lock was not acquired in time, by the limit of an option or of the server:
	// lock_timeout on PostgreSQL, innodb_lock_wait_timeout on MySQL and MariaDB, busy_timeout on SQLite unless it is 0.
	// The server's limit is waited for once, and not in every attempt. Nothing was written.
	ErrLockTimeout = errors.New("nogap: lock timeout")
	// ErrNotUnique is returned when several rows have the key, which must be unique. In a transaction of nogap's own the
	// change was rolled back. A statement outside a transaction can't be rolled back: then ErrOutcomeUnknown is wrapped
	// too. In a transaction of yours, roll back.
	ErrNotUnique = errors.New("nogap: the key is not unique")
)

// Retryable reports whether a transaction that failed with err may succeed if it is run again from its start, after a
// ROLLBACK. It is true if the server has ended the transaction because of a deadlock, a serialization failure or a
// lost certification, or if SQLite was busy. It is for loops around transactions of the caller's own.
//
// It is false for a lock timeout, which would only wait once more; for ErrOutcomeUnknown, since the transaction may
// have been committed; for ErrRetriesExhausted, since a call inside has tried for long enough; and for an error that
// wraps the error of a context, since the time for it was up.
func Retryable(err error) bool {
	for _, final := range []error{
		ErrOutcomeUnknown, ErrRetriesExhausted, ErrLockTimeout, context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, final) {
			return false
		}
	}
	return sqlerr.Of(err).Has(sqlerr.Retry)
}
