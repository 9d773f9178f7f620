//go:build unix

package contest

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// round is what was measured in one round of one way.
type round struct {
	took              time.Duration
	calls             int64 // that were acknowledged
	failed            int64
	cpu               time.Duration // of this process
	allocs, bytes     uint64
	fairness          float64
	p50, p99, longest time.Duration
}

// caller is what one caller has seen in a round. Its memory is used again.
type caller struct {
	took    []time.Duration // of each acknowledged call
	failed  int64
	longest time.Duration // of all calls, the failed ones and those that gave up too
	err     error
}

// run lets all callers call for as long.
func (e *entrant) run(ctx context.Context, sc Scenario, stage *Stage, length time.Duration) (round, error) {
	if err := e.subject.Before(ctx, stage); err != nil {
		return round{}, err
	}
	wait := length + patience
	if sc.CutWaits {
		wait = length
	}
	runtime.GC() // what the one before has left
	before := usage()
	start := time.Now()
	calling, cancel := context.WithCancel(ctx)
	defer cancel()
	// It has no deadline: distlock asks for a lock in a way that costs more while one is near, and callers of a service have none
	// so near.
	defer time.AfterFunc(wait, cancel).Stop()
	var wg sync.WaitGroup
	for i := range e.callers {
		wg.Go(func() { e.callers[i].run(calling, e.call, i, start.Add(length), sc.CutWaits) })
	}
	wg.Wait()
	r := round{took: time.Since(start)}
	r.add(usage(), before)
	if err := ctx.Err(); err != nil {
		return round{}, err
	}
	e.gather(&r)
	wrong, err := e.subject.After(ctx, stage, r.calls, r.failed)
	e.wrong.Lost += wrong.Lost
	e.wrong.Extra += wrong.Extra
	return r, err
}

func (c *caller) run(ctx context.Context, call Call, number int, end time.Time, cutWaits bool) {
	c.took, c.failed, c.longest, c.err = c.took[:0], 0, 0, nil
	for begin, first := time.Now(), true; first || begin.Before(end); first = false { // one call, however late it begins
		err := call(ctx, number)
		now := time.Now()
		c.longest = max(c.longest, now.Sub(begin))
		switch {
		case err == nil:
			c.took = append(c.took, now.Sub(begin))
		case errors.Is(err, ErrNothingLeft), cutWaits && ctx.Err() != nil:
			return
		default:
			c.failed++
			c.err = err
		}
		begin = now
	}
}

// gather sums up what the callers have seen.
func (e *entrant) gather(r *round) {
	var all []time.Duration
	counts := make([]int, len(e.callers))
	for i := range e.callers {
		c := &e.callers[i]
		all = append(all, c.took...)
		counts[i] = len(c.took)
		r.failed += c.failed
		r.longest = max(r.longest, c.longest)
		if c.err != nil {
			e.err = c.err
		}
	}
	r.calls = int64(len(all))
	r.fairness = jain(counts)
	slices.Sort(all)
	r.p50, r.p99 = quantile(all, 0.5), quantile(all, 0.99)
}

// used is what this process has used since it began.
type used struct {
	cpu           time.Duration
	allocs, bytes uint64
}

func usage() used {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for a wrong argument only
	var m runtime.MemStats
	runtime.ReadMemStats(&m) // package runtime/metrics counts a small object when its whole span is full
	return used{time.Duration(u.Utime.Nano() + u.Stime.Nano()), m.Mallocs, m.TotalAlloc}
}

func (r *round) add(after, before used) {
	r.cpu = after.cpu - before.cpu
	r.allocs = after.allocs - before.allocs
	r.bytes = after.bytes - before.bytes
}
