// Package quorum holds a lock on several independent Redis servers, its nodes: it is held while a majority of them has
// its key, under a value that nobody else has, with a TTL. This is Redlock,
// https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/, and redsync does the counting. With one
// node it is SET NX.
//
// The package adds to redsync: a bounded time for each node, whatever its client does; nodes that hang, which are not
// waited for again; keys that are deleted in the end although nobody waits any more; and an account of what each node
// said.
//
// The files are layers, and calls go down: nodes, acquisition, renewals, batch, redsync and single, grant, operation,
// ask, round and tally, pending, commands, node, unanswered and keys.
package quorum
