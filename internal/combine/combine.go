// Package combine carries out calls that meet at the same row in batches. It is the flat combining of Hendler, Incze,
// Shavit and Tzafrir, "Flat Combining and the Synchronization-Parallelism Tradeoff", SPAA 2010: the caller that holds the
// row carries out the calls of those that wait for it as well, which costs less than to hand the row from one to another.
//
// What a call is, and how a batch is carried out, is up to a Work.
package combine

import (
	"context"
	"fmt"
	"hash/maphash"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/keyqueue"
)

// Errors of calls that were not carried out, and did nothing.
var (
	// ErrClosed is returned when the Group was closed before the call was begun.
	ErrClosed = keyqueue.ErrClosed
	// ErrOverloaded is returned when as many callers as MaxWaiting wait for the same row already.
	ErrOverloaded = keyqueue.ErrOverloaded
)

// Rename returns err under the names that a user package has for ErrOverloaded and ErrClosed.
func Rename(err, overloaded, closed error) error {
	switch err {
	case ErrOverloaded:
		return overloaded
	case ErrClosed:
		return closed
	}
	return err
}

// Errors of calls of which nobody knows whether they were carried out.
var (
	errAbandoned = fmt.Errorf("%w: the driver did not return in time: %w",
		nogap.ErrOutcomeUnknown, context.DeadlineExceeded)
	errPanicked = fmt.Errorf("%w: the goroutine that sent the batch panicked", nogap.ErrOutcomeUnknown)
)

// Work carries out calls of type C. The outcome of a call is put into the call itself.
//
// key is that of the caller in whose goroutine the work is done. known is what is known about the row, of which the next
// one for the row gets what this one leaves there; it is the zero M if nothing is known.
type Work[C, M any] interface {
	// Alone carries out the call of a caller that met nobody, with the caller's own context.
	Alone(ctx context.Context, key []any, call *C, known *M)
	// Batch carries out the first of the calls, and returns how many; there is always one. It is called again for the
	// others, with the same ctx, which ends by Bounds.Timeout and by nothing else.
	Batch(ctx context.Context, key []any, calls []*C, known *M) (done int)
}

// Group carries out the calls of many callers, one batch at a time for each row. There is no goroutine in the background:
// the first of those that wait carries out the batch of all. Nothing is kept for a row that nobody wants. A Group is safe
// for concurrent use.
type Group[C, M any] struct {
	work   Work[C, M]
	bounds Bounds
	queue  keyqueue.QueueOf[string, member[C, M]]
	flight flight
	crowd  *crowd[C, M] // nil if the Work does not carry out several rows together
	// crowded says, by the hash of the row's name, whether the last turn was that of several callers.
	crowded [256]atomic.Bool
}

// member is a caller that wants a row.
type member[C, M any] struct {
	call  C
	known *M              // what those before it have left, once it has the turn; nil is nothing
	done  <-chan struct{} // closed when the caller gives up
	ending
}

// ending is how a call ended.
type ending uint8

const (
	carriedOut ending = iota // its outcome is in the call
	abandoned                // the goroutine that carried it out did not come back in time
	panicked                 // that goroutine panicked
)

func (e ending) err() error {
	switch e {
	case abandoned:
		return errAbandoned
	case panicked:
		return errPanicked
	}
	return nil
}

func (m *member[C, M]) staying() bool {
	select {
	case <-m.done:
		return false
	default:
		return true
	}
}

type turn[C, M any] = keyqueue.TurnOf[string, member[C, M]]

// New returns a Group.
func New[C, M any](work Work[C, M], bounds Bounds) *Group[C, M] {
	g := &Group[C, M]{work: work, bounds: bounds, flight: flight{idle: make(chan struct{})}}
	if together, ok := work.(Together[C, M]); ok {
		g.crowd = &crowd[C, M]{work: together}
	}
	return g
}

var seed = maphash.MakeSeed()

// Do carries out a call, alone or in a batch, and returns it with its outcome. name tells the row from all others; key
// is what Work gets if it works in this goroutine.
//
// The error is ErrClosed, ErrOverloaded, or that of ctx if it ends before the call's batch has left: then nothing was
// done. It wraps nogap.ErrOutcomeUnknown if the goroutine that carried out the batch panicked or did not come back
// within a second after Bounds.Timeout. Only in that goroutine Do goes on to wait, or panics.
func (g *Group[C, M]) Do(ctx context.Context, name []byte, key []any, call C) (*C, error) {
	t := &turn[C, M]{Value: member[C, M]{call: call, done: ctx.Done()}}
	if err := keyqueue.Join(&g.queue, name, g.bounds.MaxWaiting, t); err != nil {
		return nil, err
	}
	switch t.Await(t.Value.done) {
	case keyqueue.Left:
		return nil, ctx.Err()
	case keyqueue.Refused:
		return nil, ErrClosed
	case keyqueue.Granted:
		if err := g.lead(ctx, t, name, key); err != nil {
			return nil, err
		}
	}
	if err := t.Value.err(); err != nil { // and who was to set the outcome may be about to
		return nil, err
	}
	return &t.Value.call, nil
}

// gather lets others run who are ready to, before the caller whose turn it is collects its batch, as long as some of
// them come to the row. So those who have just got their answers, and call again, form one batch and not two that take
// turns. Without them it lasts a few microseconds, or one round of the scheduler if the processors are busy. It lasts no longer
// than the limit. behind says how many have come.
func gather(behind func() int, limit time.Duration) {
	const fruitless = 8
	begin := time.Now()
	for yields, most := 0, -1; yields < fruitless && time.Since(begin) < limit; yields++ {
		runtime.Gosched()
		if n := behind(); n > most {
			yields, most = 0, n
		}
	}
}

// lead carries out the calls of all who wait, on behalf of the first of them. The error is that of a caller whose call
// was not begun.
func (g *Group[C, M]) lead(ctx context.Context, t *turn[C, M], name []byte, key []any) error {
	crowded := &g.crowded[maphash.Bytes(seed, name)%uint64(len(g.crowded))]
	if g.crowd != nil && g.crowd.joins(g.flight.running.Load()) {
		if detached, ok := g.detach(t, key); ok {
			g.flight.begin()
			return g.leadTogether(ctx, &entry[C, M]{turn: t, crowded: crowded, row: Row[C, M]{Key: detached}}, key)
		}
	}
	if !t.Immediate() || crowded.Load() {
		gather(t.Behind, 20*time.Microsecond)
	}
	if err := ctx.Err(); err != nil {
		t.Done()
		return err
	}
	g.flight.begin()
	others, err := g.collect(t, crowded)
	if err != nil {
		g.flight.end()
		t.Done()
		return err
	}
	g.carryOut(ctx, t, key, others, 0, time.Time{})
	return nil
}

// detach is the Work's Detach. If that panics, as a Value method may, the turn ends.
func (g *Group[C, M]) detach(t *turn[C, M], key []any) (detached []any, ok bool) {
	returned := false
	defer func() {
		if !returned {
			t.Done()
		}
	}()
	detached, ok = g.crowd.work.Detach(key)
	returned = true
	return detached, ok
}

// collect takes those out of the line who wait for the row, as many as a batch may have.
func (g *Group[C, M]) collect(t *turn[C, M], crowded *atomic.Bool) ([]*turn[C, M], error) {
	limit := time.Duration(0)
	if t.Immediate() { // it may be alone, with a context that has no end, so it is the turn that ends
		limit = g.bounds.Timeout
	}
	others, err := t.Collect(g.bounds.MaxBatch-1, (*member[C, M]).staying, limit)
	if several := len(others) > 0; err == nil && several != crowded.Load() {
		crowded.Store(several)
	}
	return others, err
}

// carryOut carries out the calls that are left of a batch of which the first ones are done. The deadline is that of the batch;
// the zero Time stands for one that begins now.
func (g *Group[C, M]) carryOut(ctx context.Context, t *turn[C, M], key []any, others []*turn[C, M], done int, deadline time.Time) {
	if t.Value.known == nil {
		t.Value.known = new(M)
	}
	if len(others) == 0 && t.Immediate() {
		g.alone(ctx, t, key)
	} else {
		g.batch(ctx, t, key, others, done, deadline)
	}
}

// alone carries out a caller's own call.
func (g *Group[C, M]) alone(ctx context.Context, t *turn[C, M], key []any) {
	defer func() { // also if the driver panics
		g.flight.end()
		pass(t)
	}()
	g.work.Alone(ctx, key, &t.Value.call, t.Value.known)
}

// batch carries out a batch, as carryOut does. The context that ends it is nobody's own.
func (g *Group[C, M]) batch(ctx context.Context, t *turn[C, M], key []any, others []*turn[C, M], done int, deadline time.Time) {
	patience := g.bounds.patience()
	if deadline.IsZero() {
		deadline = time.Now().Add(g.bounds.Timeout)
	} else {
		patience = Bounds{Timeout: time.Until(deadline)}.patience()
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline)
	defer cancel()
	owed := answers[C, M]{others: others}
	timer := time.AfterFunc(patience, func() {
		if owed.abandon() {
			g.flight.abandon()
			t.Done()
		}
	})
	defer func() {
		timer.Stop()
		if owed.finish(panicked) { // to nobody, unless Work panicked
			g.flight.end()
		} else {
			g.flight.comeBack()
		}
		pass(t)
	}()
	calls := make([]*C, 1, 1+len(others))
	calls[0] = &t.Value.call
	for _, other := range others {
		calls = append(calls, &other.Value.call)
	}
	owed.give(done-1, carriedOut)
	for n := done; n < len(calls); {
		n += g.work.Batch(ctx, key, calls[n:], t.Value.known)
		owed.give(n-1, carriedOut) // the first call is the leader's own
	}
}

// pass leaves what is known to the next caller, and the turn.
func pass[C, M any](t *turn[C, M]) {
	t.Pass(func(next *member[C, M]) { next.known = t.Value.known })
}

// Apart makes a call that can't be in a batch, unless the Group is closed. Close waits for it too.
func (g *Group[C, M]) Apart(call func()) error {
	g.flight.begin()
	defer g.flight.end()
	if g.queue.Closed() {
		return ErrClosed
	}
	call()
	return nil
}

// Close makes later calls fail with ErrClosed, and those whose batch has not left. It waits for calls that are under way
// to end, up to a second more than Bounds.Timeout. The error says that one of them has not ended. Close may be called
// more than once.
func (g *Group[C, M]) Close() error {
	g.queue.Close()
	return g.flight.wait(g.bounds.patience())
}

// Size returns for how many rows anything is kept, and how many callers wait for one.
func (g *Group[C, M]) Size() (rows, waiting int) { return g.queue.Size() }
