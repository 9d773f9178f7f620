package quorum

import (
	"context"
	"errors"
	"sync"
)

// grant is what one node has said about one acquisition. It remembers whether the key was asked for and granted there,
// and sees to it that the key is deleted in the end, even if the node answers when nobody waits any more.
type grant struct {
	node *Node

	mu       sync.Mutex
	state    grantState
	unwanted bool // nobody wants the key any more that the node is still being asked for
}

type grantState int

const (
	unasked grantState = iota
	asking
	granted
	refused
	unknown // asking failed: the node may have set the key
)

// acquire asks the node for the key.
func (g *grant) acquire(op *operation) (bool, error) {
	g.mu.Lock()
	g.state = asking
	g.mu.Unlock()
	yes, err := ask(&op.round, g.node, func(ctx context.Context) (bool, error) {
		if err := g.node.look(ctx, op.key); err != nil {
			g.answer(false, nil) // it was not asked
			return false, err
		}
		yes, err := g.node.set(ctx, op)
		if g.answer(yes, err) {
			g.node.deleteLater(op.key, op.value)
		}
		return yes, err
	})
	if errors.Is(err, errOverrun) {
		g.answer(false, nil) // it was not asked
	}
	vote := err
	if err == nil && !yes {
		vote = errHeld
	}
	op.vote(g.node, vote)
	return yes, err
}

// answer notes the node's answer. It reports whether the key that the node has, or may have, is to be deleted.
func (g *grant) answer(yes bool, err error) (unwanted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err != nil:
		g.state = unknown
	case yes:
		g.state = granted
	default:
		g.state = refused
	}
	return g.unwanted && g.state != refused
}

// abandon marks the key as unwanted. It reports whether the node has to be told: not if it refused, and not by us if
// the goroutine that still asks will see to it.
func (g *grant) abandon() (tell bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unwanted = true
	switch g.state {
	case asking:
		return false, errUnanswered
	case unasked, refused:
		return false, errHeld
	}
	return true, nil
}

// delete deletes the key after an attempt that has failed.
func (g *grant) delete(op *operation) {
	if tell, _ := g.abandon(); !tell {
		return
	}
	ask(op.cleanUp(g.node.timeout), g.node, func(ctx context.Context) (struct{}, error) {
		_, err := g.node.delete(ctx, op.key, op.value)
		if !settled(err) {
			g.node.deleteLater(op.key, op.value)
		}
		return struct{}{}, err
	})
}

// release deletes the key of a lock that was held, and wakes the next process once a majority of nodes have.
func (g *grant) release(op *operation) (releaseStatus, error) {
	tell, err := g.abandon()
	if !tell {
		op.vote(g.node, err)
		return 0, err
	}
	status, err := ask(&op.round, g.node, func(ctx context.Context) (releaseStatus, error) {
		status, next, err := g.node.release(ctx, op)
		if !settled(err) {
			g.node.deleteLater(op.key, op.value)
		}
		if next != "" {
			op.woke.Store(true)
			g.node.background.Go(func() { g.wakeDecided(ctx, op, next) })
		}
		return status, err
	})
	vote := err
	if err == nil && status == heldByAnother {
		vote = errHeld
	}
	if err == nil && status == alreadyExpired {
		vote = errGone
	}
	op.vote(g.node, vote)
	return status, err
}

// wakeDecided wakes a process when the release is decided: before, it would find the lock held.
func (g *grant) wakeDecided(ctx context.Context, op *operation, process string) {
	<-op.whenDecided()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.node.timeout)
	defer cancel()
	op.wake(ctx, g.node, op.key, process)
}

// extend gives the key a new TTL.
func (g *grant) extend(op *operation) (bool, error) {
	yes, err := ask(&op.round, g.node, func(ctx context.Context) (bool, error) {
		answers, err := g.node.extend(ctx, []string{op.key}, []any{op.value}, op.ttl)
		if err != nil {
			return false, err
		}
		return answers[0].yes, answers[0].err
	})
	vote := err
	if err == nil && !yes {
		vote = errGone
	}
	op.vote(g.node, vote)
	return yes, err
}
