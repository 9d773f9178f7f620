package combine

import "sync"

// answers are what the leader of a batch owes to the others in it: one to each, its own or that it is abandoned.
type answers[C, M any] struct {
	mu        sync.Mutex
	others    []*turn[C, M] // who have none yet
	given     int
	abandoned bool
	finished  bool
}

// give answers the others up to the one with that number.
func (a *answers[C, M]) give(upTo int, how ending) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.giveLocked(upTo, how)
}

func (a *answers[C, M]) giveLocked(upTo int, how ending) {
	for ; a.given < upTo; a.given++ {
		a.others[a.given].Value.ending = how
		a.others[a.given].Answer()
	}
}

// abandon tells those who have no answer yet that the leader does not come back. It reports false if it has come back.
func (a *answers[C, M]) abandon() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.finished {
		return false
	}
	a.abandoned = true
	a.giveLocked(len(a.others), abandoned)
	return true
}

// finish answers those who have no answer yet. It reports false if the leader was given up in the meantime.
func (a *answers[C, M]) finish(how ending) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.finished = true
	a.giveLocked(len(a.others), how)
	return !a.abandoned
}
