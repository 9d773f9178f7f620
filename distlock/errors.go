package distlock

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/internal/quorum"
)

// Errors of this package. They are wrapped, so test for them with errors.Is.
var (
	// ErrNotAcquired is returned when the lock was not acquired: somebody else holds it, too few nodes answered, or the
	// context comes from a lease of the same lock. It is wrapped in an *Error, which says which of these it was.
	ErrNotAcquired = errors.New("distlock: lock not acquired")
	// ErrLost is returned when the lease can't be trusted any more: its time is over, or a majority of the nodes does
	// not have it. Somebody else may hold the lock.
	ErrLost = errors.New("distlock: lease lost")
	// ErrNotHeld is returned by Break when nobody holds the lock.
	ErrNotHeld = errors.New("distlock: lock not held")
	// ErrFenced is returned when a write is refused because its token is not the newest of its lock.
	ErrFenced = errors.New("distlock: fenced off, a later token exists")
	// ErrClosed is returned when the Locker has been closed. Calls that acquire a lock wrap it together with ErrNotAcquired.
	ErrClosed = errors.New("distlock: locker closed")

	errNotQueued = errors.New("distlock: not in the queue of those who are woken")
)

// Error says what went wrong with a lock, and what went wrong on each node. It wraps ErrNotAcquired, ErrLost, ErrNotHeld or
// another reason, the error of the context if that had ended, and the errors of the nodes.
type Error struct {
	Op    string      // "lock", "extend", "unlock", "wait", "inspect" or "break"
	Name  string      // the lock
	Err   error       // ErrNotAcquired, ErrLost or another reason
	Cause error       // why the caller gave up: the error of its context, for example. It may be nil.
	Nodes []NodeError // those that failed or refused
	Total int         // how many nodes there are, including those without an error
}

// NodeError says why one node did not do what it was asked.
type NodeError struct {
	Node int    // its place among the clients given to New, from 0
	Addr string // its address; empty if its client does not tell it
	Err  error
	// Held is set if the node works and refused: another holder has the lock there, or the key is gone.
	Held bool
}

// Error returns a text such as
//
//	distlock: lock "a": lock not acquired: 3 of 5 nodes failed or refused: node 1 (10.0.0.2:6379): no answer within 250ms; …
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "distlock: %s %q: %s", e.Op, e.Name, strings.TrimPrefix(e.Err.Error(), "distlock: "))
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	for i, n := range e.Nodes {
		if i == 0 {
			fmt.Fprintf(&b, ": %d of %d nodes failed or refused: ", len(e.Nodes), e.Total)
		} else {
			b.WriteString("; ")
		}
		b.WriteString(n.Error())
	}
	return b.String()
}

// Unwrap returns Err, Cause and the errors of the nodes.
func (e *Error) Unwrap() []error {
	errs := []error{e.Err}
	if e.Cause != nil {
		errs = append(errs, e.Cause)
	}
	for i := range e.Nodes {
		errs = append(errs, &e.Nodes[i])
	}
	return errs
}

// Error returns a phrase such as "node 1 (10.0.0.2:6379): held by somebody else".
func (e *NodeError) Error() string {
	if e.Addr == "" {
		return fmt.Sprintf("node %d: %v", e.Node, e.Err)
	}
	return fmt.Sprintf("node %d (%s): %v", e.Node, e.Addr, e.Err)
}

// Unwrap returns Err.
func (e *NodeError) Unwrap() error { return e.Err }

// notQueued tells that a caller who waits can't be woken by a node.
func (c *config) notQueued(ctx context.Context, n *quorum.Node, name string, err error) {
	failed := &quorum.Tally{Failed: []quorum.NodeFailure{n.Failure(err)}}
	c.tell(ctx, Event{Kind: NotQueued, Name: name, Err: c.newError("wait", name, errNotQueued, failed)})
}

// newError returns an *Error. failed is what the nodes said; nil if they were not asked, or agreed.
func (c *config) newError(op, name string, reason error, failed *quorum.Tally) *Error {
	e := &Error{Op: op, Name: name, Err: reason, Total: c.nodes}
	if failed != nil {
		for _, f := range failed.Failed {
			e.Nodes = append(e.Nodes, NodeError{Node: f.Node, Addr: f.Addr, Err: f.Err, Held: f.Refused})
		}
	}
	return e
}
