package locks

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-redsync/redsync/v4"
	rsredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"

	"github.com/nogap-go/nogap/distlock"
)

// Keeper holds many leases at once.
type Keeper interface {
	Acquire(ctx context.Context, name string) error
	Try(ctx context.Context, name string) error // acquires a name and releases it
	Renewals() int64
	Lost() int
	Close()
}

const idleTTL = 8 * time.Second // the default of nogap and of redsync

// Keepers are the libraries that can hold many leases.
var Keepers = []struct {
	Name string
	Open func(addrs []string) (Keeper, error)
}{
	{"nogap", newNogapKeeper},
	{"redsync, a timer a lease", newRedsyncKeeper},
}

// Fill has a Keeper acquire as many leases, for a minute at most, and returns how many it has not got: one that is busy with the
// leases that it holds would take for ever.
func Fill(ctx context.Context, k Keeper, leases int) (missing int) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var names, held atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for {
				i := names.Add(1)
				if i > int64(leases) {
					return
				}
				for tries := 0; tries < 10 && ctx.Err() == nil; tries++ {
					if k.Acquire(ctx, fmt.Sprint("idle ", i)) == nil {
						held.Add(1)
						break
					}
				}
			}
		})
	}
	wg.Wait()
	return leases - int(held.Load())
}

type nogapKeeper struct {
	locks    *distlock.Locker
	closeAll func()
	extended atomic.Int64
	gone     atomic.Int64
	mu       sync.Mutex
	leases   []*distlock.Lease
}

func newNogapKeeper(addrs []string) (Keeper, error) {
	list, closeAll := Clients(addrs)
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

func (k *nogapKeeper) Acquire(ctx context.Context, name string) error {
	lease, err := k.locks.TryLock(ctx, name)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leases = append(k.leases, lease)
	return nil
}

func (k *nogapKeeper) Try(ctx context.Context, name string) error {
	lease, err := k.locks.TryLock(ctx, name)
	if err != nil {
		return err
	}
	return lease.Unlock(ctx)
}

func (k *nogapKeeper) Renewals() int64 { return k.extended.Load() }
func (k *nogapKeeper) Lost() int       { return int(k.gone.Load()) }

func (k *nogapKeeper) Close() {
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

func newRedsyncKeeper(addrs []string) (Keeper, error) {
	list, closeAll := Clients(addrs)
	pools := make([]rsredis.Pool, len(list))
	for i, c := range list {
		pools[i] = goredis.NewPool(c)
	}
	k := &redsyncKeeper{rs: redsync.New(pools...), closeAll: closeAll}
	k.ctx, k.stop = context.WithCancel(context.Background())
	return k, nil
}

func (k *redsyncKeeper) Acquire(ctx context.Context, name string) error {
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

func (k *redsyncKeeper) Try(ctx context.Context, name string) error {
	m := k.rs.NewMutex("redsync:"+name, redsync.WithTries(1))
	if err := m.TryLockContext(ctx); err != nil {
		return err
	}
	_, err := m.UnlockContext(ctx)
	return err
}

func (k *redsyncKeeper) Renewals() int64 { return k.extended.Load() }
func (k *redsyncKeeper) Lost() int       { return int(k.gone.Load()) }

func (k *redsyncKeeper) Close() {
	k.stop()
	k.wg.Wait()
	k.closeAll()
}
