// Package nogap closes the gap between a read and the write that is decided from it.
//
// Some bugs cause no error and pass every test: two requests read the same row, both decide, both write. Stock
// becomes negative, a balance is wrong, a post is liked twice. Each statement is right alone. The bug is between
// them. The packages below prevent it. Each takes the *sql.DB, or the Redis clients, that the service already has:
//
//   - [github.com/nogap-go/nogap/atomic] closes the gap with one guarded statement. It is for counters, sets, states and
//     codes. Try it first.
//   - [github.com/nogap-go/nogap/pessimistic] locks a row around your business rules. It is safe whatever the rules are.
//     Under load its callers queue.
//   - [github.com/nogap-go/nogap/optimistic] uses a version column, compare-and-swap and retry. It holds no locks, and
//     is for many reads and few conflicts.
//   - [github.com/nogap-go/nogap/transaction] runs a transaction of your own. It runs it again when the server has
//     undone it, and says what became of it. It is for several changes that belong together.
//   - [github.com/nogap-go/nogap/idempotency] commits the work of a request and its result with the request's key. It is
//     for clients that send a request again.
//   - [github.com/nogap-go/nogap/distlock] holds a lock across servers: a Redis lock with a fencing token. It is for
//     work that no single database guards.
//
// [github.com/nogap-go/nogap/racetest] shows the gap: it is a test that plays the orders in which the statements of
// two or more clients can meet.
//
// This package has what they share: [Dialect], [Tx], [Key], the errors, [Retryable] and [Observe].
//
// # Which one
//
//	one number, one status, one membership       atomic
//	thousands of changes to one row a second     atomic.Coalesce
//	the same, with rules in Go                   optimistic.Coalesce
//	a code or a token that is good once          atomic.SingleUse
//	several changes, all or none                 transaction
//	a request that may come twice                idempotency
//	several rows or rules in between             pessimistic
//	a user edits for minutes; ETag and If-Match  optimistic
//	many reads, conflicts are rare               optimistic
//	no row there yet to lock                     pessimistic.WithNamedLock
//	a queue of jobs                              pessimistic.Claim
//	work on one server at a time                 distlock, with a Fence where it writes
//	code that may have a gap                     racetest.Explore, in its test
//
// # Guarantees
//
// Nothing is written twice. A statement or a COMMIT that may have reached the server is not sent again. If its answer
// is lost, the error is [ErrOutcomeUnknown], wrapped around the cause. After any other error of a write nothing was
// applied. (In a transaction of the caller's own, and under a distlock, COMMIT is the caller's.) What the server
// itself has undone, such as a transaction that lost a deadlock, is run again, after a random and growing pause.
//
// A missing row is sql.ErrNoRows, wrapped. After a panic in a callback the transaction is rolled back, and the panic
// goes on with its own value. No connection leaks on any path.
//
// # Contexts
//
// When a context ends, the error satisfies errors.Is with the context's error. A read ends at once, and so does a
// statement in a transaction, which is rolled back. A write outside a transaction, a COMMIT and a ROLLBACK are waited
// for a little longer, since the answer is nearly always on its way, and tells what became of the write: a call
// returns at most one second after its context has ended. So a call may return nil although its context has ended:
// then the write was applied. After any other error than [ErrOutcomeUnknown] it was not. A caller of a Coalescer whose
// batch is under way waits for the batch, for as long as the Coalescer's Timeout allows it: 5 s by default.
//
// If a statement waits for somebody else's lock, the server is asked to cancel it, 30 ms after the end of the
// context. That is so on PostgreSQL (pgx, lib/pq), but not behind a pooler such as PgBouncer. On MySQL and MariaDB
// (go-sql-driver) it is so where the server sees the port that the connection comes from; a connection is opened for
// it (KILL QUERY). Elsewhere, and with a wrapped driver, such a statement is given up after the second, and its
// outcome is unknown. On SQLite the wait for the write lock writes nothing, so it may end at any moment. But mattn's
// driver ends it only with busy_timeout.
//
// Identifiers are validated and quoted. Values are bound parameters. Only a batch of atomic.Coalesce on MySQL and MariaDB
// has integers, and texts without quotes or other special characters, in its text.
//
// # Which anomaly can happen
//
//	                                                lost update   read skew   phantoms   write skew
//	transaction.Run                                 yes           P           P          yes
//	transaction.Run with Serializable               -             -           -          -
//	pessimistic.WithRowLock of the row written      -             -           P          yes
//	pessimistic.WithRowLocks of all rows read       -             -           -          -
//	pessimistic.WithNamedLock                       -             -           -          -
//	atomic, optimistic.Table in transaction.Run     -             P           P          yes
//	atomic, optimistic.Table on the pool            -             yes         yes        yes
//
// yes: the anomaly can happen; -: it cannot; P: it can happen on PostgreSQL, whose default level is READ COMMITTED.
// WithRowLocks and WithNamedLock guard against those who take the same locks. On SQLite, where transactions follow
// one another, none can happen in a transaction. Dirty writes, dirty reads and a transaction that vanishes cannot
// happen with any call. The page [docs/anomalies.md] has Hermitage's ten anomalies for each database.
//
// # Together in one transaction
//
// The packages can be combined. What writes a row has WithTx, which takes any open transaction of the same database
// ([Tx]). In a callback of package pessimistic or transaction that is the callback's tx:
//
//	err := pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "accounts", Key: id},
//		func(ctx context.Context, tx *sqlx.Tx, account *Account) error {
//			…
//			_, err := stock.WithTx(tx).Decrement(ctx, 1, sku)
//			return err
//		})
//
// A call without WithTx(tx) uses another connection. For a row that the callback's transaction has locked, it would
// wait for a transaction that waits for it. Such a call returns an error at once, if it is given the callback's ctx.
// On SQLite, where a transaction locks the whole database, that is so for every write.
//
// # Together on one table
//
// A Table of package optimistic writes a row back as it was read. So every other writer of its columns must count the
// row's version up, in every process: package atomic with VersionColumn, and callbacks of package pessimistic and SQL
// of your own with
//
//	version = version + 1
//
// Or the Table leaves the column alone, with optimistic.ReadOnly. A Counter or State and a Table of one *sql.DB that
// would lose each other's writes are not both allowed: the one that is made second is refused.
//
// # Errors
//
//	ErrOutcomeUnknown    the write may have been applied: look before you write again
//	ErrRetriesExhausted  every attempt lost against others; nothing was written
//	ErrLockTimeout       a lock was not acquired in time; nothing was written
//	ErrNotUnique         several rows have the key
//	sql.ErrNoRows        there is no such row
//
// The page [docs/outcome-unknown.md] has three ways to go on after ErrOutcomeUnknown. Each package adds errors of its
// own for what it refuses. In a loop around a transaction of your own, [Retryable] tells which errors are worth
// another attempt.
//
// # Checks at the first use
//
// At its first use on a *sql.DB a table is checked once, over the connection or transaction of the call. Each of
// these would break a promise without an error of the server. So each is an error that names it, before anything is
// written:
//
//   - an engine without transactions;
//   - a view or a rule that replaces a guarded statement by something else;
//   - a view whose SELECT locks no rows;
//   - a session that does not commit by itself;
//   - a driver that cuts the times of versions.
//
// Calls that only read make the checks, too, and so do calls with WithDialect. Later changes of the schema are not
// seen. The page [docs/what-is-checked.md] has the list, and what is not seen.
//
// # Seeing what happens
//
// [Observe] shows every operation on a *sql.DB to an [Observer]: its name, its table, how it ended, how many attempts
// it took and how long it waited. A distlock.Locker takes an Observer, too. [LogObserver] is one for log/slog, and
// the module nogapotel has one for OpenTelemetry.
//
// # Databases
//
// These databases and drivers are supported:
//
//   - PostgreSQL with pgx or lib/pq, also behind PgBouncer in transaction pooling;
//   - MySQL and MariaDB with go-sql-driver, also MySQL Group Replication and MariaDB Galera clusters; on Galera the
//     driver needs interpolateParams=true in its DSN for calls that take a transaction;
//   - SQLite with modernc, mattn or ncruces.
//
// CockroachDB and YugabyteDB, which speak PostgreSQL's protocol, and TiDB, which speaks MySQL's, have their errors
// classified too. No driver is imported: the server is asked once for each *sql.DB what it is. So drivers in a
// wrapper such as otelsql work as well. WithDialect says it instead.
//
// [docs/anomalies.md]: https://github.com/nogap-go/nogap/blob/main/docs/anomalies.md
// [docs/outcome-unknown.md]: https://github.com/nogap-go/nogap/blob/main/docs/outcome-unknown.md
// [docs/what-is-checked.md]: https://github.com/nogap-go/nogap/blob/main/docs/what-is-checked.md
package nogap
