//go:build unix

package scenarios

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/locks"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

var (
	lock = contest.Scenario{
		Name:       "lock",
		Task:       "Lock a name that all want, do nothing, unlock it.",
		Places:     places.Redis,
		NewSubject: func() contest.Subject { return &guarded{} },
		Ways:       lockWays(),
		CutWaits:   true,
		Stretch:    4, // a library may leave the lock to one process for a while
	}
	lockWork = contest.Scenario{
		Name:       "lock-1ms",
		Task:       "Lock a name that all want, work for a millisecond, unlock it.",
		Places:     places.Redis,
		NewSubject: func() contest.Subject { return &guarded{work: time.Millisecond} },
		Ways:       lockWays(),
		CutWaits:   true,
		Stretch:    4, // a library may leave the lock to one process for a while
	}
	heldLocks = contest.Scenario{
		Name:       "held",
		Task:       "Lock and unlock a free name, while the same process holds many others and renews them.",
		NewSubject: func() contest.Subject { return &guarded{} },
		Ways:       heldWays(),
		Alone:      true,
	}
)

// guarded is the Subject of locks: a number that callers add one to by a read and a write, which the lock must keep apart.
type guarded struct {
	work  time.Duration // between the read and the write
	value atomic.Int64
	name  atomic.Value // of the lock

	lostLeases func() int // of those that are held; may be nil
	lostBefore int
}

var rounds atomic.Int64

func (*guarded) Setup(context.Context, *contest.Stage) error { return nil }

// Before begins a round with a name of its own: a library may leave a lock behind when its callers give up.
func (g *guarded) Before(context.Context, *contest.Stage) error {
	g.name.Store(fmt.Sprint("contended ", rounds.Add(1)))
	g.value.Store(0)
	g.lostBefore = g.lost()
	return nil
}

func (g *guarded) lost() int {
	if g.lostLeases == nil {
		return 0
	}
	return g.lostLeases()
}

func (g *guarded) After(_ context.Context, _ *contest.Stage, acknowledged, failed int64) (contest.Wrong, error) {
	// A caller that gave up may have held the lock already.
	return contest.Wrong{Lost: max(0, acknowledged-g.value.Load()) + int64(g.lost()-g.lostBefore)}, nil
}

func (g *guarded) addOne() {
	v := g.value.Load()
	if g.work > 0 {
		time.Sleep(g.work)
	} else {
		runtime.Gosched()
	}
	g.value.Store(v + 1)
}

// clients is how many clients of a library the callers share, as the callers of so many processes would.
const clients = 4

func lockWays() []contest.Way {
	all := []contest.Way{{Name: "distlock", Kind: contest.Nogap, Open: lockWith(locks.Nogap.Open)},
		{Name: "SET NX, polled", Kind: contest.ByHand, On: oneNode, Open: lockWith(locks.OpenByHand)}}
	for _, l := range []locks.Library{locks.Redsync, locks.Redislock, locks.Rueidislock} {
		way := contest.Way{Name: l.Name, Kind: contest.Rival, Open: lockWith(l.Open)}
		switch {
		case l.Name == locks.Rueidislock.Name:
			way.On = func(p *places.Place) bool { return oneNode(p) && !p.Fake } // it needs CLIENT TRACKING
		case !l.Multi:
			way.On = oneNode
		}
		all = append(all, way)
	}
	return append(all,
		contest.Way{Name: "etcd concurrency", Kind: contest.Rival, On: etcd, Open: lockEtcd},
		contest.Way{Name: "read, then write", Kind: contest.Naive, On: oneNode, Open: lockWith(locks.OpenNaive)})
}

func oneNode(p *places.Place) bool { return len(p.Redis) == 1 }

// etcd stands beside one Redis node. It writes to its disk before it answers.
func etcd(p *places.Place) bool { return oneNode(p) && p.Etcd != "" }

type openFunc func(addrs []string) (lock locks.Lock, closeAll func(), err error)

func lockWith(open openFunc) func(context.Context, *contest.Stage) (contest.Call, error) {
	return func(_ context.Context, s *contest.Stage) (contest.Call, error) { return lockCall(s, s.Redis, open) }
}

func lockEtcd(_ context.Context, s *contest.Stage) (contest.Call, error) {
	return lockCall(s, []string{s.Etcd}, locks.OpenEtcd)
}

func lockCall(s *contest.Stage, addrs []string, open openFunc) (contest.Call, error) {
	var all []locks.Lock
	for range min(clients, s.Callers) {
		l, closeAll, err := open(addrs)
		if err != nil {
			return nil, err
		}
		s.Cleanup(func() error { closeAll(); return nil })
		all = append(all, l)
	}
	g := s.Subject.(*guarded)
	return func(ctx context.Context, caller int) error {
		unlock, err := all[caller%len(all)](ctx, g.name.Load().(string))
		if err != nil {
			return err
		}
		g.addOne()
		return unlock()
	}, nil
}

func heldWays() (ways []contest.Way) {
	for i, k := range locks.Keepers {
		way := contest.Way{Name: k.Name, Kind: contest.Rival}
		if i == 0 {
			way.Name, way.Kind = "distlock", contest.Nogap
		}
		way.Open = func(ctx context.Context, s *contest.Stage) (contest.Call, error) {
			keeper, err := k.Open(s.Redis)
			if err != nil {
				return nil, err
			}
			s.Cleanup(func() error { keeper.Close(); return nil })
			missing := locks.Fill(ctx, keeper, s.Held)
			g, n := s.Subject.(*guarded), atomic.Int64{}
			g.lostLeases = func() int { return missing + keeper.Lost() }
			return func(ctx context.Context, _ int) error {
				if err := keeper.Try(ctx, fmt.Sprint("free ", n.Add(1))); err != nil {
					return err
				}
				g.addOne()
				return nil
			}, nil
		}
		ways = append(ways, way)
	}
	return ways
}
