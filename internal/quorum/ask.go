package quorum

import (
	"context"
	"fmt"
)

// overrun is the error of a node that is not asked at all, since so many commands are still unanswered.
type overrun int

func (o overrun) Error() string {
	return fmt.Sprintf("%d earlier commands are still unanswered", int(o))
}

var errOverrun error = overrun(maxLate)

// ask runs f, which sends a command to n, and waits for what it returns until the round is over for the node. f goes on
// alone if it comes to that, and then has to see to what it finds out.
func ask[T any](r *round, n *Node, f func(ctx context.Context) (T, error)) (T, error) {
	late := n.late.Load()
	if n.prompt && !late && !r.hasty {
		n.inPerson.Add(1)
		value, err := recovered(r.ctx, f)
		n.inPerson.Add(-1)
		return value, n.judge(r.ctx, err)
	}
	var enough <-chan struct{}
	if late {
		if n.inFlight.Load() >= maxLate {
			return *new(T), errOverrun
		}
		enough = r.whenDecided()
	}
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	n.inFlight.Add(1)
	r.retain()
	go func() {
		value, err := recovered(r.ctx, f)
		err = n.judge(r.ctx, err)
		n.inFlight.Add(-1)
		r.drop()
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-r.ctx.Done():
		n.late.Store(true)
		return *new(T), n.unanswered(nil)
	case <-enough:
		return *new(T), errUnanswered
	case <-r.interrupt:
		return *new(T), errInterrupted
	}
}

// recovered turns a panic of the client, in a hook for example, into an error: it would leave the lock's turn taken for
// ever, or end the process.
func recovered[T any](ctx context.Context, f func(ctx context.Context) (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the client panicked: %v", p)
		}
	}()
	return f(ctx)
}

// Ask runs f, which sends a command to n, and returns its error. It waits no longer than the node's time. f goes on
// alone if it comes to that, and then has to see to what it finds out. The context that f gets has the values of ctx.
func (n *Node) Ask(ctx context.Context, f func(ctx context.Context) error) error {
	r := newRound(ctx, 1, n.timeout)
	defer r.end()
	return n.askIn(r, f)
}

// AskUntil is Ask that also returns when ctx ends. ended is closed when f has returned, or the node's time is over.
func (n *Node) AskUntil(ctx context.Context, f func(ctx context.Context) error) (ended <-chan struct{}, err error) {
	r := newRound(ctx, 1, n.timeout)
	defer r.end()
	r.interruptedBy(ctx)
	return r.ctx.Done(), n.askIn(r, f)
}

func (n *Node) askIn(r *round, f func(ctx context.Context) error) error {
	_, err := ask(r, n, func(ctx context.Context) (struct{}, error) { return struct{}{}, f(ctx) })
	return err
}
