// Package nogap closes the gap between a read and the write that is decided from it.
//
// Some bugs cause no error and pass every test: two requests read the same row, both decide, both write. Stock becomes
// negative, a balance is wrong, a post is liked twice. Each statement is right alone; the bug is between them. The packages
// below are the cures. Each takes the *sql.DB, or the Redis clients, that the service already has:
//
//   - [github.com/nogap-go/nogap/atomic] closes the gap: one guarded statement. For counters, sets, states and codes; the one
//     to reach for first.
//   - [github.com/nogap-go/nogap/pessimistic] holds the gap shut: a row lock around your business rules. Safe whatever
//     they are; a queue under load.
//   - [github.com/nogap-go/nogap/optimistic] checks the gap: a version column, compare-and-swap and retry. For many
//     reads and few conflicts; no locks are held.
//   - [github.com/nogap-go/nogap/transaction] runs a transaction of your own, again when the server has undone it, and
//     tells what became of it. For several changes that belong together.
//   - [github.com/nogap-go/nogap/idempotency] closes the gap between two tries of one request: the work and its result are
//     committed with the request's key. For clients that try again.
//   - [github.com/nogap-go/nogap/distlock] holds the gap shut across servers: a Redis lock with a fencing token, for work
//     that no one database guards.
//
// This package has what they share: [Dialect], [Tx], [Key], the errors, [Retryable] and [Observe].
//
// # Which one
//
//	one number, one status, one membership       atomic
//	thousands of changes to one row a second     atomic.Coalesce
//	a code or a token that is good once          atomic.SingleUse
//	several changes, all or none                 transaction
//	a request that may come twice                idempotency
//	several rows or rules in between             pessimistic
//	a user edits for minutes; ETag and If-Match  optimistic
//	many reads, conflicts are rare               optimistic
//	no row there yet to lock                     pessimistic.WithNamedLock
//	a queue of jobs                              pessimistic.Claim
//	work on one server at a time                 distlock, with a Fence where it writes
//
// # Guarantees
//
// Nothing is written twice. A statement or a COMMIT that may have reached the server is not sent again: if its answer is
// lost, the error is [ErrOutcomeUnknown], wrapped around the cause. Any other error of a write means that it was not
// applied. (In a transaction of the caller's own, and under a distlock, COMMIT is the caller's.) What the server itself has
// undone, such as the loser of a deadlock, is run again, with a random and growing pause.
//
// A missing row is sql.ErrNoRows, wrapped. When a context ends, the error satisfies errors.Is with the context's error.
// A panic in a callback rolls back and goes on with its own value. No connection leaks on any path.
//
// Identifiers are validated and quoted; values are always bound parameters.
//
// # Which anomaly gets through
//
//	transaction.Run                                 what the server's default level lets through: lost updates, write skew
//	transaction.Run with Serializable               none
//	pessimistic.WithRowLock of the row written      write skew; on PostgreSQL phantoms
//	pessimistic.WithRowLocks of all rows read       none, if all callers lock them
//	pessimistic.WithNamedLock                       none, if all callers lock the name
//	atomic, optimistic.Modify                       write skew; no lost update of their row
//
// On SQLite, where transactions follow one another, none gets through. The page docs/anomalies.md has the table for each
// anomaly and database.
//
// # Together in one transaction
//
// The packages compose: what writes a row has WithTx, which takes any open transaction of the same database ([Tx]). In a
// callback of package pessimistic or transaction that is the callback's tx:
//
//	err := pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "accounts", Key: id},
//		func(ctx context.Context, tx *sqlx.Tx, account *Account) error {
//			…
//			_, err := stock.WithTx(tx).Decrement(ctx, 1, sku)
//			return err
//		})
//
// A call without WithTx(tx) uses another connection. For a row that the callback's transaction has locked, it would wait
// for a transaction that waits for it. Such a call is an error at once, if it is given the callback's ctx. On SQLite, where
// a transaction locks the whole database, that is so for every write.
//
// # Together on one table
//
// A Table of package optimistic writes a row back as it was read. So every other writer of its columns must count the
// row's version up: package atomic with VersionColumn, callbacks of package pessimistic and SQL of your own with
// version = version + 1, in every process. Or the Table leaves the column alone, with optimistic.ReadOnly. A Counter or
// State and a Table of one *sql.DB that would lose each other's writes are not both allowed: the one that is made second
// is refused.
//
// # Errors
//
//	ErrOutcomeUnknown    the write may have been applied: read the row before you write again
//	ErrRetriesExhausted  every attempt lost against others; nothing was written
//	ErrLockTimeout       a lock was not acquired in time; nothing was written
//	ErrNotUnique         several rows have the key
//	sql.ErrNoRows        there is no such row
//
// Each package adds errors of its own for what it refuses. In a loop around a transaction of your own, [Retryable] tells
// which errors are worth another attempt.
//
// # What is looked at
//
// At its first use on a *sql.DB a table is looked at once, over the connection or transaction of the call. What would break
// a promise without a word is an error that names it, before anything is written: an engine without transactions, a
// view or a rule that has something else done in place of a guarded statement, a view whose SELECT locks no rows, a session
// that does not commit by itself, a driver that cuts the times of versions. WithDialect does not spare the look, and reads
// need it, too. Later changes of the schema are not seen. The page docs/what-is-checked.md has the list, and what is not
// seen.
//
// # Seeing what happens
//
// [Observe] shows every operation on a *sql.DB to an [Observer]: its name, its table, how it ended, how many attempts it
// took and how long it waited. A distlock.Locker takes an Observer, too.
//
// # Databases
//
// PostgreSQL (pgx, lib/pq), MySQL and MariaDB (go-sql-driver), and SQLite (modernc, mattn, ncruces) are supported, also
// behind PgBouncer in transaction pooling, on a MariaDB Galera cluster (whose driver needs interpolateParams=true in its DSN
// for what takes a transaction) and on MySQL Group Replication. CockroachDB and YugabyteDB, which speak
// PostgreSQL's wire, and TiDB, which speaks MySQL's, have their errors classified too. No driver is imported: the server
// is asked once per *sql.DB what it is, so drivers in a wrapper such as otelsql work as well. WithDialect says it instead.
package nogap
