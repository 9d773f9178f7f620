// Package idempotency gives a request one effect, however often the request comes.
//
//	payments, err := idempotency.New[Receipt](db, "idempotency_keys")
//	receipt, replayed, err := payments.Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (Receipt, error) {
//		left, err := balance.WithTx(tx).Decrement(ctx, amount, account)
//		return Receipt{Left: left}, err
//	})
//
// # When to use it
//
// A client that got no answer sends its request again. A webhook is delivered twice. A button is pressed twice. If
// the client sends a key that is the same for each try of one request, [Store.Do] runs the work once and gives every
// try the same result. The key's row, the writes of the callback and the result are committed in one transaction. So
// a crash leaves all of it or nothing. There is no key without its work, and no lock with a time limit that could end
// before the work does.
//
// [NewHandler] does so for HTTP, by the header field Idempotency-Key. [Store.WithTx] is for code that has a
// transaction already, such as the inbox of a message queue.
//
// For work that needs no result, such as "this event has been handled", use atomic.Set.Add in the same transaction. A
// distributed lock is not needed: the unique index of the table lets one call in, and keeps its result when the
// process dies.
//
// # What is guaranteed
//
//   - Of any number of calls with a key, in any number of processes, one has an effect. All calls that succeed return
//     its result. replayed is false for the call that made it.
//   - After an error, a panic or runtime.Goexit in the callback nothing is stored, and the next call runs the callback.
//   - If the answer to COMMIT is lost, Do finds out by the key whether COMMIT was carried out. [nogap.ErrOutcomeUnknown]
//     is returned only if the database could not be asked before the context ended. Then it is safe to call Do with the
//     same key again.
//
// The guarantee covers what is written through tx. A mail that the callback sends, or a call of another service, is
// not undone and may happen twice. Put such a call between two calls of Do, with the other service's own idempotency
// key, and not into an open transaction.
//
// The guarantee lasts as long as the key does. Sweep deletes old keys.
//
// # How it works
//
// Do inserts the key first, under READ COMMITTED, and the unique index makes the others wait. Waiters of one process
// hold no connection. A replay is one read if this process has seen the key's result lately. Otherwise it is BEGIN,
// the INSERT that finds the key, a read and ROLLBACK. To read first would cost every first call a round trip.
//
// If the network has lost the connection at COMMIT, the session may still be open in the server, with the key's row
// locked. Do ends that session (pg_terminate_backend, KILL). A user may do that with its own sessions. Behind a proxy
// other programs may share the user's sessions. There the session is recognized by its transaction on PostgreSQL, and
// by its number, its user and how long it has been idle on MySQL and MariaDB.
//
// # Galera
//
// On a MariaDB Galera cluster the driver's DSN must have interpolateParams=true, as for package transaction.
package idempotency
