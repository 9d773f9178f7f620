// Package nogap closes the gap between a read and the write that is decided from it.
//
// Some bugs throw no error and pass every test: two requests read the same row, both decide, both write. Stock goes
// negative, a balance goes wrong, a post is liked twice. Each statement is right alone; the bug lives between them. The
// packages below are the cures. Each takes the *sql.DB, or the Redis clients, that the service has already:
//
//   - [github.com/nogap-go/nogap/atomic] closes the gap: one guarded statement. For counters, sets and states; the one
//     to reach for first.
//   - [github.com/nogap-go/nogap/pessimistic] holds the gap shut: a row lock around your business rules. Safe whatever
//     they are; a queue under load.
//   - [github.com/nogap-go/nogap/optimistic] checks the gap: a version column, compare-and-swap and retry. For many
//     reads and few conflicts; no locks are held.
//   - [github.com/nogap-go/nogap/distlock] holds the gap shut across servers: a Redis lock with a fencing token, for work
//     that no one database guards.
//
// This package itself holds only what they share: [Dialect] and [ErrOutcomeUnknown].
//
// # Which one
//
//	one number, one status, one membership       atomic
//	thousands of changes to one row a second     atomic.Coalesce
//	several rows or rules in between             pessimistic
//	a user edits for minutes; ETag and If-Match  optimistic
//	many reads, conflicts are rare               optimistic
//	no row there yet to lock                     pessimistic.WithNamedLock
//	a queue of jobs                              pessimistic.Claim
//	work on one server at a time                 distlock, with a Fence where it writes
//
// # Guarantees
//
// Nothing is ever written twice. A statement or a COMMIT that may have reached the server is not sent again: if its
// answer is lost the error is [ErrOutcomeUnknown], wrapped around the cause. Any other error of a write means that it was
// not applied. (In a transaction of the caller's own, and under a distlock, COMMIT is the caller's.) What the server itself has undone, such as the loser of a deadlock, is run again, with jittered backoff.
//
// A missing row is sql.ErrNoRows, wrapped. When a context ends, the error satisfies errors.Is with the context's error.
// A panic in a callback rolls back and goes on with its own value. No connection leaks on any path.
//
// Identifiers are validated and quoted; values are always bound parameters.
//
// # Databases
//
// PostgreSQL (pgx, lib/pq), MySQL and MariaDB (go-sql-driver), and SQLite (modernc, mattn, ncruces) are supported, also
// behind PgBouncer in transaction pooling and on a MariaDB Galera cluster. CockroachDB and YugabyteDB, which speak
// PostgreSQL's wire, and TiDB, which speaks MySQL's, have their errors classified too. No driver is imported: the server
// is asked once per *sql.DB what it is, so drivers in a wrapper such as otelsql work as well. WithDialect says it instead.
package nogap
