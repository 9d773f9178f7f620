// Package waitqueue lets callers of several processes wait for a lock that is kept in Redis, in about the order in
// which they came, and be woken when it is released.
//
// The callers of one process queue in the process. The one whose turn it is may try for the lock, and takes a place for
// its process in a queue that is kept in Redis. A release takes one process off that queue and wakes it, through the
// subscription that each process has at each node.
//
// Wake-ups are hints: one may get lost, or come in vain. Whether the lock is held only the nodes say.
//
// The files are layers, and calls go down: turn, place, waiters with subscription, and redis.
package waitqueue
