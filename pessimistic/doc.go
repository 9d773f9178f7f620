// Package pessimistic closes the gap between a read and the write that is decided from it by holding it shut: it locks a
// row, gives it to a callback, and commits what the callback has written. Until then nobody else can write the row.
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
//   - WithRowLock for one row, WithRowLocks for several, such as the two accounts of a transfer.
//   - Claim for the next rows of a table that is a queue: its callers share the work and never wait for one another.
//   - WithNamedLock for what has no row yet.
//   - LockRow in a transaction of your own, or for one more row inside a callback.
//
// If the decision can be said in SQL ("only if there are enough left"), one guarded statement is faster and holds no
// lock between two round trips: see package atomic. If callers rarely meet, or think for long between read and write,
// see package optimistic.
//
// If an optimistic.Table writes the same columns, the callback's UPDATE must count the version up: version = version + 1.
//
// # What is guaranteed
//
//   - The callback gets the current row. Nobody else can change it until the transaction ends.
//   - The callback's writes are committed together, once, or not at all. If the connection is lost at COMMIT, the error
//     wraps nogap.ErrOutcomeUnknown, and nothing is run again.
//   - A transaction that the server ends because it lost against others is run again, with a random and growing pause
//     (Backoff), until it works, or MaxAttempts are used up, or the context ends. A callback may run more than once, so
//     it should change nothing but the database.
//   - After an error, a panic or runtime.Goexit in the callback the transaction is rolled back and its connection is free
//     again, with the settings that it had.
//   - Callers in one process that want the same row queue for it in the process, in the order in which they came, without
//     a connection. However hot the row is, they use one connection of the pool.
//   - A statement that waits for a lock longer than the server allows (lock_timeout, innodb_lock_wait_timeout) ends the
//     call with ErrLockTimeout. It is not waited for again.
//
// # Calls in a callback
//
// What a callback writes must go through its tx: with its own statements, with LockRow for one more row, with WithTx of the
// other packages. A call without tx takes another connection. If it is given the callback's ctx, and wants a row that the
// callback's transaction has locked, or has written through nogap, it is an error at once: it would wait for a transaction
// that waits for it. On SQLite, where a transaction locks the whole database, that is so for every lock and every write.
// What the callback has written by hand is not known.
//
// Observers (see nogap.Observe) see every call, and those that a callback makes. LockRow is seen in the transaction of a
// callback only: another one does not say which *sql.DB it belongs to.
//
// # What is not
//
//   - A lock excludes those who lock or write. A plain SELECT reads on.
//   - On a Galera cluster a lock is that of one node. Callers on two nodes can both be in their callbacks; COMMIT lets
//     one of them win and runs the other again. The result is right, but a callback that acts on the world outside the
//     database may do so twice. MySQL Group Replication with several primaries is alike.
//   - A Galera cluster loses the error of a lost race, and commits half of the transaction, if the driver prepares statements.
//     Every call is refused there unless the driver's DSN has interpolateParams=true, and a callback must not call tx.Prepare
//     for a SELECT: see docs/galera-lost-abort.md.
//   - A callback that locks another row in a nested call waits for another transaction of its own program, and can deadlock
//     in a way that no server sees. Use LockRow with the callback's tx, or WithRowLocks.
//   - On SQLite, every lock is the write lock of the whole database. It is taken before the read, which never fails
//     because of another writer later, and the callers of one process queue for it.
//   - On MySQL a deadlock rolls the whole transaction back, and each later statement is committed by itself. A callback
//     that goes on after the error of a statement, instead of returning it, breaks all of the above there.
//   - What a callback holds is known by the names and values in the calls. The rows of Claim, a table or a key that is
//     spelled in another way, and rows that the callback has locked by SQL of its own are not known: a call on the pool
//     for one of them waits until its context ends.
//   - A NOWAIT in SQL of the callback's own has the server's code for a lock timeout, and comes back as ErrLockTimeout.
//
// # The first look
//
// The first call for a table of a *sql.DB asks the server once what it is, over a connection of the pool and before its
// transaction begins. A table that other sessions may see as another one, such as a temporary table, is asked for in each
// transaction, before the callback runs. An engine without transactions (MySQL, MariaDB) and a view whose SELECT locks no rows (WITH, UNION or a
// function on PostgreSQL; one that is not updatable on MySQL and MariaDB) are errors. So is a session that does not
// commit by itself (autocommit=0, completion_type), except for LockRow, whose caller commits. What becomes of the schema
// later is not seen. The module's page docs/what-is-checked.md has the details.
//
// # Servers
//
// PostgreSQL, MySQL, MariaDB, SQLite and the servers that speak like them: what they are is asked once for every *sql.DB.
// An option that a server does not have is an error that names both, and nothing is sent.
package pessimistic
