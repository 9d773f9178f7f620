// Package distlock holds a lock across servers: a Redlock mutex on one Redis server or several independent ones, and
// a fence that makes it safe.
//
//	locks, err := distlock.New([]redis.UniversalClient{a, b, c}) // or one
//	…
//	err = locks.WithLock(ctx, "item:42", func(ctx context.Context, lease *distlock.Lease) error {
//		… // ctx ends with cause ErrLost when the lock can't be trusted any more
//	})
//
// Use [Locker.WithLock] first. [Locker.Lock] and [Locker.TryLock] return the [Lease] instead, and the caller unlocks
// it. A process needs one [Locker] for all its locks.
//
// If the lock protects rows of one database, a row lock of package pessimistic, or one guarded statement of package
// atomic, is simpler and safer. distlock is for what no database transaction covers: a job that must run once among
// many replicas, calls to another service, work on files.
//
// # What it does
//
// The algorithm is Redlock (https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/), as redsync
// implements it: a lock is held while a majority of the nodes has its key, under a random value and with a TTL. With
// one node that is SET NX. In addition:
//
//   - A watchdog extends the lease before a third of the TTL is over, again and again until Unlock, and never after. So
//     the TTL says how long a holder that died may block others. It does not limit how long the work may take.
//     Extensions of many leases share commands. The leases that end first are extended first. Few commands are under way
//     at a time, so a process may hold many thousands of leases.
//   - The context of the lease is cancelled when the lease is lost, before the time of the lease is over.
//   - Each node has NodeTimeout to answer, whatever the timeouts and retries of its client are. A node that does not
//     answer is waited for once, and not again while a majority answers.
//   - Unlock works when the caller's context has ended. Keys that a failed, cancelled or late attempt has set are
//     deleted.
//   - A release wakes the process that has waited longest. If a message is lost, a waiting process tries by itself
//     within a second, or when the TTL of a holder that died is over, if that is earlier.
//   - The goroutines of a process are served in the order of their calls. They pass the lock on without Redis, for
//     HandOver at a time. Then other processes get their turn. Each goroutine has a lease of its own.
//
// # Nested calls
//
// A lock can't be acquired twice. The context of a lease, and every context derived from it, knows the lease. If the
// context of a call comes from a lease of the same name, Lock, TryLock, WithLock and WithLocks of the same Locker
// return [ErrNotAcquired] at once. Otherwise the call would wait for itself. Work under the lease that is there, or
// pass a context that does not come from it. A lease that has been unlocked holds nothing. The context of a lost
// lease has ended.
//
// Other names may be locked in a callback. Two callers that lock two names in different orders may wait for each
// other. WithLocks locks them in one order.
//
// # Events and Observers
//
// [OnEvent] takes a function that is called when a lock is acquired, waited for, extended, lost or released.
// [WithObserver] takes an Observer that sees each call as an operation, as nogap.Observe does for a *sql.DB.
//
// # What is guaranteed without the fence
//
// At most one lease of a name is valid at a time, and the context of a lost lease is cancelled before the next holder
// can acquire the lock, if
//
//   - no node loses a key before its TTL is over. It would lose the key if it crashed without persistence and came back
//     within the TTL, if its memory were full and it evicted the key, if a replica took over that has not seen the key,
//     or if somebody deleted the key;
//   - clocks run at the same rate, up to one per cent;
//   - and the holder is not paused, by its system, its hypervisor or its garbage collector, after it has looked at its
//     context and before it acts.
//
// Nobody can promise the last one. A process that goes on after its TTL learns of the loss at once, but it may be in
// the middle of a write. So without the fence the lock makes double work rare. It does not make it impossible, and no
// lock with a TTL can: see Martin Kleppmann, "How to do distributed locking", 2016.
//
// # What is guaranteed with the fence
//
//	token, err := fence.Mint(ctx, lease)
//	…
//	tx, err := db.BeginTx(ctx, nil)
//	…
//	err = fence.Guard(ctx, tx, token) // ErrFenced: a later holder exists. Roll back.
//	… // the write
//	err = tx.Commit()
//
// A [Fence] keeps a number for each name, in the database where the writes happen. [Fence.Mint] takes the next number
// for the holder. [Fence.Guard], in the transaction of a write, checks that the number is still the newest. Then
// these hold, whatever clocks, pauses and Redis do:
//
//   - Once a token has been minted, no write under an earlier token of that name is committed any more.
//   - All writes under earlier tokens were committed before, and are seen.
//   - Tokens of a name never repeat or decrease, even if Redis loses all data.
//
// Mint asks Redis before and after whether the lease is still held, so a holder that comes too late gets no token. If
// two holders overlap, and both have minted, the one with the earlier token is refused. Writes without Guard, and
// effects outside of that database, are not covered. For them the guarantees without the fence hold.
//
// # Operators
//
// [Locker.Inspect] says who holds a lock, if its Locker has a [Label], how long it is still held, and how many
// processes wait. [Locker.Break] ends it. [MaxHold] ends a lease by itself, so that a goroutine that hangs does not
// keep a lock for ever. After Break and MaxHold the holder gets [ErrLost], and may work on until it notices. Only a
// fence stops its writes.
//
// # Rights
//
// All keys and channels begin with the [Prefix]. Redis 6.0.6 or later is needed, or Valkey. This user can do all that
// a Locker does:
//
//	ACL SETUSER locks on >password resetkeys ~lock:* resetchannels &lock:* -@all +hello +ping +client
//		+set +get +del +pexpire +pttl +rpush +lpush +lpop +lpos +lrem +lrange +eval +evalsha +publish +subscribe
//
// On a Redis Cluster it also needs +spublish +ssubscribe +cluster|slots +asking. With +info, which is not needed, the
// Locker finds nodes that are replicas, or the same server twice. If the user lacks a right, the first lock on the
// node fails and says which. The right to subscribe shows when a caller waits; see [NotQueued].
//
// The page [docs/topology.md] says which servers to use, and what is lost with each topology when a server fails.
//
// # Errors and contexts
//
// An [*Error] says which nodes failed or refused, and why. errors.Is finds [ErrNotAcquired], [ErrLost], [ErrNotHeld]
// and the error of the caller's context in it. The end of a context ends a wait for a lock. It does not keep
// [Lease.Unlock] from releasing the lock.
//
// [docs/topology.md]: https://github.com/nogap-go/nogap/blob/main/docs/topology.md
package distlock
