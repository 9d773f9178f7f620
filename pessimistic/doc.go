// Package pessimistic closes the gap between a read and the write that is decided from it: it locks a row, gives it
// to a callback, and commits what the callback has written. Until then nobody else can write the row.
//
//	err := pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "orders", Key: id},
//		func(ctx context.Context, tx *sqlx.Tx, order *Order) error {
//			price, err := rules.Price(order, customer) // decisions that SQL cannot make
//			if err != nil {
//				return err // rolls back
//			}
//			if _, err := stock.WithTx(tx).Decrement(ctx, order.Quantity, order.SKU); err != nil { // an atomic.Counter
//				return err
//			}
//			_, err = tx.ExecContext(ctx, "UPDATE orders SET price = $1 WHERE id = $2", price, id)
//			return err
//		})
//
// # Which call to use
//
//   - [WithRowLock] locks one row.
//   - [WithRowLocks] locks several, such as the two accounts of a transfer, or all rows of a condition.
//   - [Claim] takes the next rows of a table that is a queue. Its callers share the work and never wait for one another.
//   - [WithNamedLock] locks a name, for things that have no row yet.
//   - [LockRow] and [LockRows] lock in a transaction of your own, or lock more rows inside a callback.
//
// If SQL can make the decision ("only if there are enough left"), one guarded statement is faster, and holds no lock
// between two round trips: see package atomic. If callers rarely meet, or if there is a long time between read and
// write, see package optimistic.
//
// If an optimistic.Table writes the same columns, the callback's UPDATE must count the version up: version = version
// + 1.
//
// # What is guaranteed
//
//   - The callback gets the current row. Nobody else can change it until the transaction ends.
//   - The callback's writes are committed together, once, or not at all. If the connection is lost at COMMIT, the error
//     wraps [nogap.ErrOutcomeUnknown], and nothing is run again.
//   - A transaction that the server ends because it lost against others is run again, after a random and growing pause
//     (Backoff), until it works, MaxAttempts are used up or the context ends. A callback may run more than once, so it
//     must change nothing but the database.
//   - After an error, a panic or runtime.Goexit in the callback the transaction is rolled back. Its connection is free
//     again, with the settings that it had.
//   - Callers in one process that want the same row queue for it in the process, in the order of their arrival, without
//     a connection. However many they are, they use one connection of the pool, and for the time of a COMMIT two: the
//     next caller begins its transaction meanwhile, and waits for the row in the server. Where a condition chooses the
//     rows they don't queue.
//   - A statement that waits for a lock longer than the server allows (lock_timeout, innodb_lock_wait_timeout) ends the
//     call with ErrLockTimeout. The lock is not waited for again.
//
// # Calls in a callback
//
// What a callback writes must go through its tx: with statements of its own, with LockRow for one more row, with
// WithTx of the other packages. A call without tx takes another connection. Such a call returns an error at once if
// it is given the callback's ctx and wants a row that the callback's transaction has locked, or has written through
// nogap: it would wait for a transaction that waits for it. On SQLite, where a transaction locks the whole database,
// that holds for every lock and every write. Writes of the callback by other means are not known.
//
// Observers (see nogap.Observe) see every call, and those that a callback makes. They see LockRow only in the
// transaction of a callback. Another transaction does not say to which *sql.DB it belongs.
//
// # Limits
//
//   - A lock excludes those who lock or write. A plain SELECT does not wait.
//   - On a Galera cluster a lock belongs to one node. Callers on two nodes can both be in their callbacks. COMMIT lets
//     one of them win and runs the other again. The result is right, but a callback that has effects outside the
//     database may have them twice. MySQL Group Replication with several primaries is alike.
//   - A Galera cluster loses the error of a lost race, and commits half of the transaction, if the driver prepares
//     statements. Every call returns an error there unless the driver's DSN has interpolateParams=true, and a callback
//     must not call tx.Prepare for a SELECT: see [docs/galera-lost-abort.md].
//   - A callback that locks another row in a nested call waits for another transaction of its own program. That can be a
//     deadlock that no server sees. Use LockRow with the callback's tx, or WithRowLocks.
//   - On SQLite, every lock is the write lock of the whole database. It is taken before the read, so no other writer can
//     make the transaction fail later. The callers of one process queue for it.
//   - On MySQL a deadlock rolls the whole transaction back, and each later statement is committed by itself. If a
//     callback ignores the error of a statement, none of the guarantees hold there.
//   - WithNamedLock is not for work outside the database. If the holder's connection dies, the server frees the name at
//     once, and another caller may enter after milliseconds, while the holder's callback still runs. The holder learns
//     of it by its next statement, or by COMMIT. Its writes are not applied, but its effects outside the database
//     overlap with those of the other caller. For these use package distlock, whose lease tells its holder.
//   - A NOWAIT in SQL of the callback's own has the server's code for a lock timeout, and its error is ErrLockTimeout.
//
// The rows that a callback holds are known by the names and values in the calls. A table or a key that is spelt in
// another way, and a row that is named by other key columns, are recognized too: the server is asked, in one more
// statement. These are not recognized, so that a call on the pool for one of them waits until its context ends:
//
//   - the rows of a Claim whose T has no field for the key, and rows that the callback has locked by SQL of its own;
//   - a row that its transaction has inserted and that other key columns name; on MySQL and MariaDB also another text of
//     the same number, "01" for "1";
//   - a key of a type that only the driver knows;
//   - the table behind a view, or the view.
//
// # Checks at the first use
//
// The first call for a table of a *sql.DB asks the server once about it, over a connection of the pool and before its
// transaction begins. About a table that may be another one for other sessions, such as a temporary table, each
// transaction asks before the callback runs. The call returns an error in these cases:
//
//   - The table's engine has no transactions (MySQL, MariaDB).
//   - It is a view whose SELECT locks no rows: one with WITH, UNION or a function on PostgreSQL, one that is not
//     updatable on MySQL and MariaDB.
//   - The session does not commit by itself (autocommit=0, completion_type). With LockRow and LockRows, whose caller
//     commits, this is no error.
//
// Later changes of the schema are not seen. The module's page [docs/what-is-checked.md] has the details.
//
// # Servers
//
// PostgreSQL, MySQL, MariaDB, SQLite and the servers that speak like them are supported. Each *sql.DB is asked once
// which one it is. An option that a server does not have is an error that names both, and nothing is sent.
//
// [docs/galera-lost-abort.md]: https://github.com/nogap-go/nogap/blob/main/docs/galera-lost-abort.md
// [docs/what-is-checked.md]: https://github.com/nogap-go/nogap/blob/main/docs/what-is-checked.md
package pessimistic
