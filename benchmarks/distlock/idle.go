package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/go-redsync/redsync/v4"
	rsredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"

	"github.com/nogap-go/nogap/distlock"
)

// idleResult is what became of many leases that one process held and did nothing with.
type idleResult struct {
	Contest   string  `json:"contest"` // "idle leases"
	Nodes     int     `json:"nodes"`
	Rival     string  `json:"rival"`
	Leases    int     `json:"leases"`
	Lost      int     `json:"lost"`
	Renewals  float64 `json:"renewals_per_second"`
	CPU       float64 `json:"cpu_us_per_renewal"`         // processor time of this process
	Share     float64 `json:"processors"`                 // how many processors it kept busy
	Tries     int     `json:"free_names_tried"`           // by TryLock, meanwhile
	Failed    int     `json:"free_names_failed"`          //
	LongestMS float64 `json:"longest_try_of_a_free_name"` // in milliseconds
}

// keeper holds many leases at once.
type keeper interface {
	acquire(ctx context.Context, name string) error
	try(ctx context.Context, name string) error // acquires a name and releases it
	renewals() int64
	lost() int
	close()
}

const idleTTL = 8 * time.Second // the default of nogap and of redsync

var idleKeepers = []struct {
	name string
	open func(addrs []string) (keeper, error)
}{
	{"nogap", newNogapKeeper},
	{"redsync, a timer a lease", newRedsyncKeeper},
}

// idle measures each keeper with as many leases on the nodes.
func idle(addrs []string, leases int, d time.Duration) (results []idleResult, err error) {
	for _, k := range idleKeepers {
		r, err := keepIdle(k.open, addrs, leases, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		r.Rival = k.name
		results = append(results, r)
	}
	return results, nil
}

func keepIdle(open func([]string) (keeper, error), addrs []string, leases int, d time.Duration) (idleResult, error) {
	r := idleResult{Contest: "idle leases", Nodes: len(addrs), Leases: leases}
	k, err := open(addrs)
	if err != nil {
		return r, err
	}
	defer k.close()
	ctx := context.Background()
	var names atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for {
				i := names.Add(1)
				if i > int64(leases) {
					return
				}
				for tries := 0; k.acquire(ctx, fmt.Sprint("idle ", i)) != nil && tries < 10; tries++ {
				}
			}
		})
	}
	wg.Wait()

	renewed, cpu, start := k.renewals(), processorTime(), time.Now()
	for i := 0; time.Since(start) < d; i++ {
		asked := time.Now()
		r.Tries++
		if k.try(ctx, fmt.Sprint("free ", i)) != nil {
			r.Failed++
		}
		r.LongestMS = max(r.LongestMS, float64(time.Since(asked))/1e6)
		time.Sleep(10 * time.Millisecond)
	}
	took, used := time.Since(start), processorTime()-cpu
	renewals := k.renewals() - renewed
	r.Lost, r.Renewals = k.lost(), float64(renewals)/took.Seconds()
	r.CPU = float64(used.Microseconds()) / float64(max(renewals, 1))
	r.Share = used.Seconds() / took.Seconds()
	return r, nil
}

// processorTime returns how much of it this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

type nogapKeeper struct {
	locks    *distlock.Locker
	closeAll func()
	extended atomic.Int64
	gone     atomic.Int64
	mu       sync.Mutex
	leases   []*distlock.Lease
}

func newNogapKeeper(addrs []string) (keeper, error) {
	list, closeAll := clients(addrs)
	k := &nogapKeeper{closeAll: closeAll}
	locks, err := distlock.New(list, distlock.TTL(idleTTL), distlock.OnEvent(func(_ context.Context, e distlock.Event) {
		switch {
		case e.Kind == distlock.Extended && e.Err == nil:
			k.extended.Add(1)
		case e.Kind == distlock.Lost:
			k.gone.Add(1)
		}
	}))
	k.locks = locks
	return k, err
}

func (k *nogapKeeper) acquire(ctx context.Context, name string) error {
	lease, err := k.locks.TryLock(ctx, name)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leases = append(k.leases, lease)
	return nil
}

func (k *nogapKeeper) try(ctx context.Context, name string) error {
	lease, err := k.locks.TryLock(ctx, name)
	if err != nil {
		return err
	}
	return lease.Unlock(ctx)
}

func (k *nogapKeeper) renewals() int64 { return k.extended.Load() }
func (k *nogapKeeper) lost() int       { return int(k.gone.Load()) }

func (k *nogapKeeper) close() {
	var wg sync.WaitGroup
	for part := range 32 {
		wg.Go(func() {
			for i := part; i < len(k.leases); i += 32 {
				k.leases[i].Unlock(context.Background())
			}
		})
	}
	wg.Wait()
	k.locks.Close()
	k.closeAll()
}

// redsyncKeeper is what users of redsync write: a timer for each mutex that extends it at a third of its TTL.
type redsyncKeeper struct {
	rs       *redsync.Redsync
	closeAll func()
	stop     context.CancelFunc
	ctx      context.Context
	wg       sync.WaitGroup
	extended atomic.Int64
	gone     atomic.Int64
}

func newRedsyncKeeper(addrs []string) (keeper, error) {
	list, closeAll := clients(addrs)
	pools := make([]rsredis.Pool, len(list))
	for i, c := range list {
		pools[i] = goredis.NewPool(c)
	}
	k := &redsyncKeeper{rs: redsync.New(pools...), closeAll: closeAll}
	k.ctx, k.stop = context.WithCancel(context.Background())
	return k, nil
}

func (k *redsyncKeeper) acquire(ctx context.Context, name string) error {
	m := k.rs.NewMutex("redsync:"+name, redsync.WithExpiry(idleTTL), redsync.WithTries(1))
	if err := m.LockContext(ctx); err != nil {
		return err
	}
	k.wg.Go(func() { k.keep(m) })
	return nil
}

func (k *redsyncKeeper) keep(m *redsync.Mutex) {
	tick := time.NewTicker(idleTTL / 3)
	defer tick.Stop()
	for {
		select {
		case <-k.ctx.Done():
			m.UnlockContext(context.Background())
			return
		case <-tick.C:
		}
		if ok, _ := m.ExtendContext(k.ctx); ok {
			k.extended.Add(1)
		} else if k.ctx.Err() == nil && time.Now().After(m.Until()) {
			k.gone.Add(1)
			return
		}
	}
}

func (k *redsyncKeeper) try(ctx context.Context, name string) error {
	m := k.rs.NewMutex("redsync:"+name, redsync.WithTries(1))
	if err := m.TryLockContext(ctx); err != nil {
		return err
	}
	_, err := m.UnlockContext(ctx)
	return err
}

func (k *redsyncKeeper) renewals() int64 { return k.extended.Load() }
func (k *redsyncKeeper) lost() int       { return int(k.gone.Load()) }

func (k *redsyncKeeper) close() {
	k.stop()
	k.wg.Wait()
	k.closeAll()
}

func printIdle(results []idleResult) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer w.Flush()
	fmt.Fprintln(w, "contest\tnodes\tlibrary\tleases\tlost\trenewals/s\tCPU a renewal\tprocessors\tfree names tried\tfailed\tlongest\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%.0f\t%.1f us\t%.2f\t%d\t%d\t%.0f ms\t\n", r.Contest, r.Nodes, r.Rival, r.Leases,
			r.Lost, r.Renewals, r.CPU, r.Share, r.Tries, r.Failed, r.LongestMS)
	}
}
