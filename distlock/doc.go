// Package distlock holds a lock across servers: a Redlock mutex on one Redis server or several independent ones, and a
// fence that makes it safe.
//
//	locks, err := distlock.New([]redis.UniversalClient{a, b, c}) // or one
//	…
//	err = locks.WithLock(ctx, "item:42", func(ctx context.Context, lease *distlock.Lease) error {
//		… // ctx ends with cause ErrLost when the lock can't be trusted any more
//	})
//
// WithLock is the call to use first. Lock and TryLock return the [Lease] instead, to be unlocked by the caller. A
// process needs one [Locker] for all its locks.
//
// If the lock protects rows of one database, a row lock of package pessimistic, or one guarded statement of package
// atomic, is simpler and safer. distlock is for what no database transaction covers: a job that should run once among
// many replicas, calls to another service, work on files.
//
// # What it does
//
// The algorithm is Redlock (https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/), as redsync
// implements it: a lock is held while a majority of the nodes has its key, under a random value and with a TTL. With
// one node that is SET NX. Around it:
//
//   - A watchdog extends the lease at every third of the TTL until Unlock, and never after. So the TTL says how long a
//     holder that died may block others, and not how long the work may take.
//   - The holder is told of a loss by its context, before the lease's time is over.
//   - Each node has NodeTimeout to answer, whatever the timeouts and retries of its client are. A node that hangs is
//     waited for once, and not again while a majority answers.
//   - Unlock works when the caller's context has ended, and what a failed, cancelled or late attempt has left is
//     cleaned up.
//   - A release wakes the process that has waited longest. Should a message be lost, a waiting process tries by itself
//     within a second, and earlier if the TTL of a holder that died ends before.
//   - The goroutines of a process are served in the order of their calls. They pass the lock on without touching Redis,
//     for HandOver at a time: then other processes get their turn. Each has a lease of its own.
//
// # What is guaranteed without the fence
//
// At most one lease of a name is valid at a time, and a holder is told before the next one can get the lock, if
//
//   - no node loses a key before its TTL: it crashes without persistence and is back within the TTL, its memory is full
//     and it evicts, a replica takes over that has not seen the key, somebody deletes it;
//   - clocks run at the same rate, up to one per cent;
//   - and the holder is not paused, by its system, its hypervisor or its garbage collector, between a look at its
//     context and what it does next.
//
// Nobody can promise the last one. A process that wakes up after its TTL learns of the loss at once, but it may be in
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
// A [Fence] keeps a number per name in the database that the writes go to. Mint takes the next one for the holder;
// Guard, in the transaction of a write, checks that it is still the newest. Then, without any assumption about clocks,
// pauses and what Redis remembers:
//
//   - once a token has been minted, no write under an earlier token of that name is committed any more;
//   - all writes under the earlier ones were committed before, and are seen;
//   - tokens of a name never repeat or decrease, also when all of Redis is lost.
//
// Mint asks Redis before and after whether the lease still holds, so a holder that comes too late gets no token. If two
// holders do overlap, and both have minted, the one with the earlier token is refused. Writes that do not go through
// Guard, and effects outside of that database, are not covered. There the lock remains what it is without the fence.
//
// # Errors
//
// An [*Error] says which nodes failed or refused, and how. errors.Is finds [ErrNotAcquired], [ErrLost] and the error of
// the caller's context in it.
package distlock
