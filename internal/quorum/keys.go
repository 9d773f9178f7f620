package quorum

import "strings"

// Keys makes the names of a lock's keys and of the channels. All of them begin with the prefix, so that a user of Redis
// needs rights for these names only.
type Keys struct{ Prefix string }

const (
	queueSuffix = ":queue"
	wokenSuffix = ":woken"
	lockSuffix  = ":lock"
)

// Lock returns the key of a lock: the prefix and the name. A name that ends like the key of a queue or a note gets
// another ending, so that no lock has the key of another lock's queue.
func (k Keys) Lock(name string) string {
	if reserved(name) {
		return k.Prefix + name + lockSuffix
	}
	return k.Prefix + name
}

// Name returns the name of the lock that has the key.
func (k Keys) Name(key string) string {
	name := strings.TrimPrefix(key, k.Prefix)
	if plain := strings.TrimSuffix(name, lockSuffix); reserved(plain) {
		return plain
	}
	return name
}

func reserved(name string) bool {
	return strings.HasSuffix(name, queueSuffix) || strings.HasSuffix(name, wokenSuffix) || strings.HasSuffix(name, lockSuffix)
}

// Queue returns the key of the list of processes that wait for the lock with the given key. It is in the same slot of a
// Redis Cluster, because the scripts use both. Only the keys for which SameSlot is false have no such name.
func (k Keys) Queue(key string) string { return k.sibling(key, queueSuffix) }

// woken returns the key under which a release notes whom it has taken off the queue. It is made like Queue's.
func (k Keys) woken(key string) string { return k.sibling(key, wokenSuffix) }

// sibling returns a key with the same hash tag, or with the whole key as its tag. The two don't end alike, or the lock
// of "{lock:a}" could have the queue of "a".
func (k Keys) sibling(key, suffix string) string {
	if tagged(key) {
		return key + ":" + suffix
	}
	return k.Prefix + "{" + key + "}" + suffix
}

// SameSlot reports whether Queue finds a name in the slot of the key.
func (k Keys) SameSlot(key string) bool {
	return tagged(key) || !strings.ContainsRune(key, '}') && !strings.ContainsRune(k.Prefix, '{')
}

// Channel returns the name of the channel on which a process is woken.
func (k Keys) Channel(process string) string { return k.Prefix + "wake:" + process }

// tagged reports whether only a part of the key decides on its slot:
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
func tagged(key string) bool {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		return strings.IndexByte(key[open+1:], '}') > 0
	}
	return false
}
