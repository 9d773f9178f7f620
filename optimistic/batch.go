package optimistic

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/combine"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/txn"
)

// request is one call of a Coalescer.
type request[T any] struct {
	ctx context.Context // of the caller: whose has ended takes no part
	fn  func(*T) error
	op  *observe.Op

	// What its caller is told.
	item     *T
	err      error
	declined bool // err is what fn returned
	trace    *combine.Trace

	mu       sync.Mutex
	state    functionState
	panicked any           // with what fn has panicked; nil for runtime.Goexit
	returned chan struct{} // closed when fn, which runs, has come to its end; nil if nobody waits for that
}

// functionState says whether a function may be called by another goroutine than its caller's.
type functionState uint8

const (
	callable functionState = iota
	running
	died // it has panicked or called runtime.Goexit
	over // its caller has its answer
)

// errDied stands for what a function that did not return leaves to its own caller.
var errDied = errors.New("the function panicked or called runtime.Goexit")

// apply lets fn run in another goroutine than its caller's, inside f, if it may. It returns what f returns, or errDied.
func (r *request[T]) apply(f func() (declined bool, err error)) (declined bool, err error) {
	if !r.begin() {
		return false, errDied
	}
	after := died // unless f returns
	defer func() {
		var panicked any
		if after == died {
			panicked, err = recover(), errDied
		}
		r.finish(after, panicked)
	}()
	declined, err = f()
	after = callable
	return declined, err
}

func (r *request[T]) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != callable {
		return false
	}
	r.state = running
	return true
}

func (r *request[T]) finish(after functionState, panicked any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state, r.panicked = after, panicked
	if r.returned != nil {
		close(r.returned)
	}
}

// mayRun reports whether fn may be called again.
func (r *request[T]) mayRun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state == callable
}

// end waits until fn does not run, and sees to it that it runs no more. What fn did in place of returning is done here, in
// the goroutine of its caller.
func (r *request[T]) end() {
	r.mu.Lock()
	if r.state == running {
		r.returned = make(chan struct{})
		r.mu.Unlock()
		<-r.returned
		r.mu.Lock()
	}
	state := r.state
	r.state = over
	r.mu.Unlock()
	switch {
	case state == died && r.panicked == nil:
		runtime.Goexit()
	case state == died:
		panic(r.panicked)
	}
}

// batcher carries out the calls of a Coalescer: one alone as Modify does, several by one swap.
type batcher[T any] struct {
	table *versionedTable
	copy  func(*T) *T
}

// Alone makes the call on the Table.
func (b *batcher[T]) Alone(ctx context.Context, key []any, call **request[T], _ *struct{}) {
	r := *call
	r.op.Batched(1)
	r.item, r.err = modify(ctx, b.table, r.op, r.fn, key)
}

// Batch carries out all of the calls.
func (b *batcher[T]) Batch(ctx context.Context, key []any, calls []**request[T], _ *struct{}) (done int) {
	key = slices.Clone(key) // which errors hold
	requests := make([]*request[T], len(calls))
	for i, call := range calls {
		requests[i] = *call
	}
	if !b.swap(ctx, key, requests) {
		for i, r := range requests {
			if r.mayRun() {
				b.swap(ctx, key, requests[i:i+1])
			}
		}
	}
	return len(calls)
}

// swap carries out the calls by one swap. It reports false if that was refused, and nothing written, but some of the calls
// may succeed without the others.
func (b *batcher[T]) swap(ctx context.Context, key []any, requests []*request[T]) bool {
	var op observe.Op
	trace := &combine.Trace{Began: time.Now(), Calls: len(requests)}
	all := combination[T]{batcher: b, requests: requests}
	m := modification[T]{table: b.table, op: &op, change: &all, key: key}
	err := m.run(ctx)
	if all.last != nil && len(requests) > 1 && wasRefused(err) {
		return false
	}
	trace.Attempts = op.Attempts()
	for i, r := range requests {
		r.trace = trace
		if all.last == nil {
			r.err = err
		} else {
			all.last.settle(i, r, err)
		}
	}
	return true
}

// wasRefused reports whether a write was refused for what it would have written.
func wasRefused(err error) bool {
	for _, other := range []error{ErrRetriesExhausted, ErrVersionConflict, sql.ErrNoRows, nogap.ErrNotUnique} {
		if errors.Is(err, other) {
			return false
		}
	}
	return err != nil && (txn.RefusedByServer(err) || txn.RefusedByDriver(err))
}
