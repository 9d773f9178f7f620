// Package idempotency gives a request one effect, however often it comes.
//
//	payments, err := idempotency.New[Receipt](db, "idempotency_keys")
//	receipt, replayed, err := payments.Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (Receipt, error) {
//		left, err := balance.WithTx(tx).Decrement(ctx, amount, account)
//		return Receipt{Left: left}, err
//	})
//
// # When to use it
//
// A client that got no answer sends its request again; a webhook is delivered twice; a button is pressed twice. If the client
// sends a key that is the same for each try of one request, Do runs the work once and gives every try the same result. The key's
// row, what the callback writes and the result are committed in one transaction. So a crash leaves all of it or nothing, there
// is no key without its work, and no lock with a time limit under the work.
//
// WithTx is for code that has a transaction already, such as the inbox of a message queue.
//
// What needs no result, such as "this event has been handled", is atomic.Set.Add in the same transaction. A distributed lock is
// not needed: the unique index of the table already lets one call in, and keeps its result when the process dies.
//
// # What is guaranteed
//
//   - Of any number of calls with a key, in any number of processes, one has an effect. All that succeed return its result.
//     replayed is false for the one that made it.
//   - After an error, a panic or runtime.Goexit in the callback nothing is stored, and the next call runs it.
//   - A COMMIT whose answer is lost is settled by the key: see Store.Do. nogap.ErrOutcomeUnknown is returned only if the
//     database could not be asked before the context ended. Then the same key is the safe way on.
//
// The guarantee covers what is written through tx. A mail, or a call of another service, in the callback is not undone and may
// happen twice. Such a call belongs between two calls of Do, with the other service's own idempotency key, and
// not into an open transaction.
//
// It lasts as long as the key does: Sweep deletes old ones.
//
// # How it works
//
// Do inserts the key first, under READ COMMITTED, and the unique index makes the others wait. Waiters of one process hold no
// connection. A lost COMMIT may leave its session open with the key's row locked, if the network has swallowed the connection:
// Do ends that session (pg_terminate_backend, KILL), which a user may do with its own sessions. Behind a proxy that shares the
// user's sessions with other programs, the session is told from others by its transaction on PostgreSQL, and on MySQL and MariaDB
// by its number, its user and how long it has been idle.
//
// # Galera
//
// As with package transaction, the driver's DSN must have interpolateParams=true on a MariaDB Galera cluster.
package idempotency
