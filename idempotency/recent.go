package idempotency

import (
	"hash/maphash"
	"sync"
)

// recent are the keys of which this process has seen a result lately. For them a call reads first, which is all that a replay
// costs then. For the others it does not: the read would be one more round trip of every first call.
type recent struct {
	mu          sync.Mutex
	new, before map[uint64]struct{} // hashes: another key with the same one costs a read
}

// maxRecent is how many keys are added until those before are forgotten.
const maxRecent = 1 << 14

var recentSeed = maphash.MakeSeed()

func (r *recent) add(p place) {
	hash := maphash.Comparable(recentSeed, p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.new == nil || len(r.new) >= maxRecent {
		r.new, r.before = make(map[uint64]struct{}), r.new
	}
	r.new[hash] = struct{}{}
}

func (r *recent) has(p place) bool {
	hash := maphash.Comparable(recentSeed, p)
	r.mu.Lock()
	defer r.mu.Unlock()
	_, now := r.new[hash]
	_, before := r.before[hash]
	return now || before
}
