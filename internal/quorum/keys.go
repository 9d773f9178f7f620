package quorum

import "strings"

// QueueKey returns the key of the list of processes that wait for a lock. It hashes to the same slot of a Redis Cluster
// as the lock's key, because the scripts use both: it has the same hash tag, or the whole key as its tag. Only a key
// with a closing brace but no tag has no such name: see SameSlot. It begins with the tag and not with the prefix of the
// locks, so that no lock has this key, unless that prefix is empty or begins with a brace itself.
func QueueKey(key string) string { return sibling(key, "queue") }

// wokenKey returns the key under which a release notes whom it has taken off the queue. It is made like QueueKey's.
func wokenKey(key string) string { return sibling(key, "woken") }

func sibling(key, role string) string {
	if tag, ok := hashTag(key); ok {
		return tag + ":" + role + ":" + key
	}
	return "{" + key + "}:" + role
}

// SameSlot reports whether QueueKey finds a name in the slot of the key.
func SameSlot(key string) bool {
	_, ok := hashTag(key)
	return ok || !strings.Contains(key, "}")
}

// hashTag returns the part of a key that decides on its slot, with its braces, if there is one:
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
func hashTag(key string) (string, bool) {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if length := strings.IndexByte(key[open+1:], '}'); length > 0 {
			return key[open : open+length+2], true
		}
	}
	return "", false
}
