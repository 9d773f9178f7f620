package waitqueue

import (
	"context"

	"github.com/nogap-go/nogap/internal/keyqueue"
)

// Turn is the right of one caller to try for the lock of a name: no other caller of this process does so meanwhile. It ends with
// Done, or GiveUp.
type Turn struct {
	waiters *Waiters
	local   *keyqueue.Turn[string]
	place   *place // among the processes; nil until the caller has to wait for another one
}

// Wait waits for the turn. It returns an error if ctx ends, or waiting is hopeless. waited reports whether other
// callers of this process were ahead.
func (ws *Waiters) Wait(ctx context.Context, name string) (t Turn, waited bool, err error) {
	local, err := ws.local.WaitOr(ctx, ws.hopeless(), name)
	if err != nil {
		return Turn{}, true, err
	}
	return Turn{waiters: ws, local: local}, !local.Immediate(), nil
}

// Try returns the turn if no caller of this process has it.
func (ws *Waiters) Try(name string) (t Turn, ok bool) {
	local, ok := ws.local.Try(name)
	return Turn{waiters: ws, local: local}, ok
}

// Waiting returns how many callers of this process wait for the turn.
func (t *Turn) Waiting() int { return t.local.Behind() }

// Yield lets another process go first: the one that was woken when this one released the lock. It returns when a try is
// due.
func (t *Turn) Yield(ctx context.Context) { t.takePlace().yield(ctx) }

// WaitForRelease waits until a try is due, after one that has failed: until the process is woken, for as long as the
// lock can still be held, or for the time of the backoff, for the end of ctx, or until waiting is hopeless. held says that another process is
// known to hold the lock. It does not wait, once, and reports true if the lock's key is none that a holder sets: it has
// no TTL, or is of another type.
func (t *Turn) WaitForRelease(ctx context.Context, held bool) (strange bool) {
	return t.takePlace().waitForRelease(ctx, held)
}

func (t *Turn) takePlace() *place {
	if t.place == nil {
		t.place = newPlace(t.waiters, t.waiters.keys.Lock(t.local.Key()))
	}
	return t.place
}

// Acquired says that the caller has the lock, and need not be woken any more.
func (t *Turn) Acquired() {
	if t.place != nil {
		t.place.leave(true)
		t.place = nil
	}
}

// GiveUp ends the turn of a caller that does without the lock, and calls then. The next caller of the process has to
// wait until the place among the processes is given up; this one does not.
func (t *Turn) GiveUp(then func()) {
	local, place := t.local, t.place
	if place == nil {
		local.Done()
		then()
		return
	}
	t.waiters.background.Go(func() {
		place.leave(false)
		local.Done()
		then()
	})
}

// Done ends the turn and lets the next caller of this process in. It reports whether there was one. Calls after the first
// have no effect and report false.
func (t *Turn) Done() (passed bool) { return t.local.Done() }
