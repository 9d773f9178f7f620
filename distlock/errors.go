package distlock

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNotAcquired says that the lock was not acquired: somebody else holds it, or too few nodes answered. The
	// error that wraps it is an *Error, which tells the two apart.
	ErrNotAcquired = errors.New("distlock: lock not acquired")
	// ErrLost says that the lease can't be trusted any more: it ran out, or a majority of the nodes does not have it.
	// Somebody else may hold the lock.
	ErrLost = errors.New("distlock: lease lost")
	// ErrFenced says that a write was refused because its token is not the newest of its lock.
	ErrFenced = errors.New("distlock: fenced off, a later token exists")
	// ErrClosed says that the Locker has been closed.
	ErrClosed = errors.New("distlock: locker closed")
)

var (
	errHeld       = errors.New("held by somebody else")
	errGone       = errors.New("not there any more")
	errUnanswered = errors.New("no answer yet")
	errInterrupt  = errors.New("not waited for")
)

// Error tells what went wrong with a lock and, for each node, why. It wraps ErrNotAcquired or ErrLost, the error of the
// context if that had ended, and the errors of the nodes.
type Error struct {
	Op    string // "lock", "extend" or "unlock"
	Name  string // the lock
	Err   error  // ErrNotAcquired, ErrLost or another reason
	Cause error  // why the caller gave up: the error of its context, for example. It may be nil.
	Nodes []NodeError
	Total int // how many nodes there are, those without an error included
}

// NodeError is what one node answered instead of yes.
type NodeError struct {
	Node int    // its place among the clients given to New, from 0
	Addr string // its address, as far as its client tells
	Err  error
	// Held is set if the node is in order and refused: another holder has the lock there, or none has.
	Held bool
}

// Error returns a sentence such as
//
//	distlock: lock "a": lock not acquired: 3 of 5 nodes failed: node 1 (10.0.0.2:6379): no answer within 250ms; …
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

// held returns how many nodes are in order and refused.
func (e *Error) held() int {
	held := 0
	for _, n := range e.Nodes {
		if n.Held {
			held++
		}
	}
	return held
}

// answered returns how many nodes are in order, whether they agreed or refused.
func (e *Error) answered() int { return e.Total - len(e.Nodes) + e.held() }
