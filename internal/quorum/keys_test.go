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

var prefixes = []string{"lock:", "", "{app}:lock:", "{app}", "queue", "lock"}

func TestSiblingsAreInTheSlotOfTheirLock(t *testing.T) {
	for _, prefix := range prefixes {
		k := Keys{Prefix: prefix}
		for _, name := range []string{
			"a", "{user1}:cart", "{user1}:cart:queue", "{user1}", "{", "a{b", "名前", " ", `{"id":1}`, "queue", "x:lock",
		} {
			key := k.Lock(name)
			require.True(t, k.SameSlot(key), key)
			for _, other := range []string{k.Queue(key), k.woken(key)} {
				require.Equal(t, slotPart(key), slotPart(other), key)
				require.True(t, strings.HasPrefix(other, prefix), other)
			}
			require.True(t, strings.HasPrefix(key, prefix), key)
			require.Equal(t, name, k.Name(key))
		}
	}
	for _, name := range []string{"}", "{}", "{}x", "{}{a}", "}{", "a}"} {
		k := Keys{Prefix: "lock:"}
		require.NotEqual(t, slotPart(k.Lock(name)), slotPart(k.Queue(k.Lock(name))), name)
		require.False(t, k.SameSlot(k.Lock(name)), name)
	}
	open := Keys{Prefix: "{lock:"} // what is a tag depends on the name
	require.False(t, open.SameSlot(open.Lock("a")))
	require.NotEqual(t, slotPart(open.Lock("a")), slotPart(open.Queue(open.Lock("a"))))
	require.True(t, open.SameSlot(open.Lock("a}b")))
}

// No two of all the keys of all locks are the same, whatever the names are.
func FuzzKeysAreDistinct(f *testing.F) {
	f.Add("lock:", "a", "{lock:a}:queue")
	f.Add("lock:", "a", "{lock:a}:woken:lock")
	f.Add("lock:", "a", "{lock:a}")
	f.Add("lock:", "{t}a", "{t}a:queue")
	f.Add("lock:", "{t}a", "{t}a::queue")
	f.Add("", "{t}a:queue", "{t}a:queue:lock")
	f.Add("{t}", "a:lock", "a:lock:lock")
	f.Add("lock", ":queue", ":woken")
	f.Fuzz(func(t *testing.T, prefix, a, b string) {
		if a == b || a == "" || b == "" {
			return
		}
		k := Keys{Prefix: prefix}
		seen := map[string]string{}
		for _, name := range []string{a, b} {
			key := k.Lock(name)
			require.Equal(t, name, k.Name(key))
			for _, each := range []string{key, k.Queue(key), k.woken(key)} {
				require.True(t, strings.HasPrefix(each, prefix), each)
				require.NotContains(t, seen, each, "it is also a key of %q", name)
				seen[each] = name
			}
		}
	})
}
