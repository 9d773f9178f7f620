// Package transaction runs a transaction of your own. It runs it again when the server has undone it, and says what
// became of it.
//
//	err := transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
//		if err := stock.WithTx(tx).DecrementAll(ctx, cart); err != nil {
//			return err // rolls back
//		}
//		if _, err := wallet.WithTx(tx).Decrement(ctx, total, buyer); err != nil {
//			return err
//		}
//		return orders.WithTx(tx).Transition(ctx, "pending", "paid", order)
//	})
//
// # When to use it
//
// Several changes of which all must take effect or none belong in one transaction. [Run] locks nothing in advance.
// The guarded calls of package atomic close the gap of each statement by themselves. A plain SELECT that decides a
// later write is not guarded under the default isolation level of PostgreSQL, MySQL and MariaDB. Lock what it reads
// with pessimistic.LockRow or LockRows, or run the transaction with [Serializable].
//
// A transaction that changes one row by one statement needs no Run: call the method of package atomic.
//
// # What is guaranteed
//
//   - The writes of the callback are committed together, once, or not at all.
//   - A transaction that the server ends because it lost against others (a deadlock, a serialization failure, a lost
//     certification of a cluster, a busy SQLite) is run again from its start, until it works, MaxAttempts are used up or
//     the context ends. The callback may run more than once, so it must change nothing but the database, and must return
//     the errors of tx.
//   - If the connection is lost at COMMIT, and nothing tells whether COMMIT was carried out, the error wraps
//     [nogap.ErrOutcomeUnknown] and nothing is run again. After any other error nothing was written.
//   - After an error, a panic or runtime.Goexit in the callback the transaction is rolled back, and its connection is
//     free again.
//   - A session of MySQL or MariaDB that does not commit by itself, or that does more at COMMIT (autocommit=0,
//     completion_type), is an error before BEGIN. The server is asked once for each *sql.DB.
//
// # Deadlocks
//
// Transactions that lock the same rows in different orders deadlock. The server ends one of them, and Run runs it
// again. On PostgreSQL each deadlock costs the time of deadlock_timeout, which is 1 s by default. The transactions of
// one process that have lost run their next attempts one after another, so that they do not meet again.
//
// A common order of the writes prevents deadlocks: first the stock, then the wallet, then the order, for example, and
// in each table the rows in the order of their keys, as DecrementAll does.
//
// # Galera
//
// A MariaDB Galera cluster loses the error by which a transaction is ended, and commits half of it, if the driver
// prepares statements. Run returns an error there unless the driver's DSN has interpolateParams=true, and the
// callback must not call tx.Prepare for a SELECT: see [docs/galera-lost-abort.md].
//
// # SQLite
//
// SQLite has one write lock for the whole database. A transaction that reads first and writes later is refused if
// another one has written in between. So Run takes the write lock before it calls the callback, unless ReadOnly is
// given.
//
// [docs/galera-lost-abort.md]: https://github.com/nogap-go/nogap/blob/main/docs/galera-lost-abort.md
package transaction
