package quorum

import (
	"errors"
	"fmt"
	"slices"
)

var (
	errHeld        = errors.New("held by somebody else")
	errEndless     = fmt.Errorf("%w, in a key without a TTL: it never ends by itself", errHeld)
	errGone        = errors.New("not there any more")
	errUnanswered  = errors.New("no answer yet")
	errInterrupted = errors.New("not waited for")
)

// refusal reports whether err is that of a node which is in order and refused.
func refusal(err error) bool { return errors.Is(err, errHeld) || errors.Is(err, errGone) }

// NodeFailure is what one node answered instead of yes.
type NodeFailure struct {
	Node int
	Addr string
	Err  error
	// Refused is set if the node is in order and refused: another holder has the lock there, or none has.
	Refused bool
}

// Failure returns what the node answered instead of yes.
func (n *Node) Failure(err error) NodeFailure {
	return NodeFailure{Node: n.index, Addr: n.addr, Err: err, Refused: refusal(err)}
}

// Tally is what the nodes said to an operation that has failed.
type Tally struct {
	Total  int
	Failed []NodeFailure
}

// Refused returns how many nodes are in order and refused.
func (t *Tally) Refused() int {
	refused := 0
	for _, f := range t.Failed {
		if f.Refused {
			refused++
		}
	}
	return refused
}

// Answered reports whether a majority of the nodes is in order, whether they agreed or refused.
func (t *Tally) Answered() bool {
	return t.Total-len(t.Failed)+t.Refused() >= majority(t.Total)
}

// Explain returns the tally with the reasons that an examination has found for the nodes which say only that somebody
// else has the lock.
func (t *Tally) Explain(examined *Tally) *Tally {
	if t == nil || examined == nil {
		return t
	}
	explained := &Tally{Total: t.Total, Failed: slices.Clone(t.Failed)}
	for i, f := range t.Failed {
		for _, e := range examined.Failed {
			if e.Node == f.Node && f.Err == errHeld {
				explained.Failed[i] = e
			}
		}
	}
	return explained
}

// Interrupted reports whether the caller did not wait for the answer of a node.
func (t *Tally) Interrupted() bool {
	for _, f := range t.Failed {
		if errors.Is(f.Err, errInterrupted) {
			return true
		}
	}
	return false
}

// Incurable reports whether so many nodes failed for reasons that no waiting removes that the others are no majority.
func (t *Tally) Incurable() bool {
	count := 0
	for _, f := range t.Failed {
		if incurable(f.Err) {
			count++
		}
	}
	return count > t.Total-majority(t.Total)
}

// Agreed reports whether a majority of the nodes said yes.
func (t *Tally) Agreed() bool { return t.Total-len(t.Failed) >= majority(t.Total) }

// Held reports whether every node failed, and a majority because another holder has the lock there.
func (t *Tally) Held() bool {
	return len(t.Failed) == t.Total && t.Refused() >= majority(t.Total)
}

// Lost reports whether so many nodes refused that no majority can have the lock.
func (t *Tally) Lost() bool { return t.Refused() > t.Total-majority(t.Total) }

func majority(total int) int { return total/2 + 1 }
