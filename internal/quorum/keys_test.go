package quorum

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// slotPart returns what Redis Cluster hashes of a key:
// https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/
func slotPart(key string) string {
	if _, after, found := strings.Cut(key, "{"); found {
		if tag, _, found := strings.Cut(after, "}"); found && tag != "" {
			return tag
		}
	}
	return key
}

func TestQueueKeyIsInTheSlotOfItsLock(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range []string{
		"lock:a", "lock:{user1}:cart", "lock:{user1}:cart:queue", "lock:{user1}", "{", "lock:{", "a{b", "名前", "lock: ",
		`lock:{"id":1}`,
	} {
		for _, other := range []string{QueueKey(key), wokenKey(key)} {
			require.Equal(t, slotPart(key), slotPart(other), key)
			require.False(t, strings.HasPrefix(other, "lock:"), "it is a lock's key: %s", other)
			require.False(t, seen[other], other)
			seen[other] = true
		}
		require.True(t, SameSlot(key), key)
	}
	for _, key := range []string{"}", "{}", "{}x", "{}{a}", "}{", "lock:a}"} {
		require.NotEqual(t, slotPart(key), slotPart(QueueKey(key)), key)
		require.False(t, SameSlot(key), key)
	}
}
