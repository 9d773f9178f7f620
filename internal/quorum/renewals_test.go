package quorum_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/quorum"
)

// renewal is what a renewal has told.
type renewal struct {
	until  time.Time
	failed *quorum.Tally
	after  time.Duration
}

// renew renews locks, of which the later ones in the slice end first, and returns what came of it. It is called in a bubble.
func renew(ctx context.Context, locks []*quorum.Acquisition) []renewal {
	all := make([]renewal, len(locks))
	start := time.Now()
	var wg sync.WaitGroup
	wg.Add(len(locks))
	for i, a := range locks {
		a.Renew(ctx, start.Add(time.Hour-time.Duration(i)), func(until time.Time, failed *quorum.Tally) func() {
			all[i] = renewal{until, failed, time.Since(start)}
			return wg.Done
		})
	}
	wg.Wait()
	synctest.Wait() // for the nodes that nobody waits for
	return all
}

func acquire(t *testing.T, ns *quorum.Nodes, n int) (locks []*quorum.Acquisition) {
	t.Helper()
	for i := range n {
		a, _, failed := ns.Acquire(t.Context(), fmt.Sprint(i))
		require.Nil(t, failed)
		locks = append(locks, a)
	}
	return locks
}

// Renewals that are due together share a script, and those of the locks that end first before the others.
func TestRenewalsShareCommands(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		locks := acquire(t, ns, 1000)
		for _, s := range servers {
			s.before = func(redis.Cmder) { time.Sleep(10 * time.Millisecond) }
			s.exchanges = nil // the looks at the server
		}
		start := time.Now()
		for i, r := range renew(t.Context(), locks) {
			require.Nil(t, r.failed, i)
			require.False(t, r.until.Before(start.Add(ttl-ttl/100)), i)
			require.True(t, r.until.Before(start.Add(ttl)), i)
		}
		for _, s := range servers {
			require.Len(t, s.exchanges, 2)
			sent := map[any]int{}
			for i, p := range s.exchanges {
				require.Len(t, p, 1)
				args := p[0].Args()
				for _, key := range args[3 : 3+args[2].(int)] {
					sent[key] = i
				}
			}
			require.Len(t, sent, 1000)
			for i := range 400 {
				require.NotEqual(t, sent["999"], sent[fmt.Sprint(i)], "that of %d ends last", i)
			}
		}
	})
}

// A server that has started anew has forgotten the script, and is sent it once more.
func TestRenewalsOfAForgottenScript(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		locks := acquire(t, ns, 10)
		for _, s := range servers {
			s.forgot = true
		}
		for _, r := range renew(t.Context(), locks) {
			require.Nil(t, r.failed)
		}
	})
}

// A lock is extended if its own script would extend it, whatever the server says to one with several.
func TestRenewalsOneByOne(t *testing.T) {
	const wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value"
	for name, c := range map[string]struct {
		prepare func(*server)
		failed  string  // what the server says of lock 3
		sent    [][]int // how many commands each exchange has: at first, again, and a minute later
	}{
		"together": {
			prepare: func(*server) {}, sent: [][]int{{1}, {1}, {1}},
		},
		"not on a server of its own": { // which the look has told
			prepare: func(s *server) { s.info = "redis_mode:cluster\r\n" }, sent: [][]int{{10}, {10}, {10}},
		},
		"on a service that does not tell": {
			prepare: func(s *server) { s.info = "" }, sent: [][]int{{10}, {10}, {10}},
		},
		"the script is refused": {
			prepare: func(s *server) { s.several = serverError("NOPERM No permissions to access a key") },
			sent:    [][]int{{1, 10}, {10}, {1, 10}},
		},
		"a command fails": {
			prepare: func(s *server) { s.failing = map[string]string{"3": wrongType} }, failed: wrongType,
			sent: [][]int{{1}, {1}, {1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
				for _, s := range servers {
					c.prepare(s)
				}
				locks := acquire(t, ns, 10)
				for round, want := range c.sent {
					if round == 2 {
						time.Sleep(time.Minute) // of the bubble
					}
					for _, s := range servers {
						s.exchanges = nil
					}
					for i, r := range renew(t.Context(), locks) {
						if i == 3 && c.failed != "" {
							require.EqualError(t, r.failed.Failed[0].Err, c.failed)
						} else {
							require.Nil(t, r.failed, i)
						}
					}
					for _, s := range servers {
						var sent []int
						for _, e := range s.exchanges {
							sent = append(sent, len(e))
						}
						require.Equal(t, want, sent)
					}
				}
			})
		})
	}
}

// A client of a type that nobody knows may choose the server by the key.
func TestRenewalsThroughAnotherClient(t *testing.T) {
	leftBehind(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		locks := acquire(t, ns, 10)
		for _, s := range servers {
			s.exchanges = nil
		}
		renew(t.Context(), locks)
		for _, s := range servers {
			require.Len(t, s.exchanges, 1)
			require.Len(t, s.exchanges[0], 10)
		}
	})
}

// What a server can't do for the time being, it is not asked for again at once.
func TestRenewalsOfABusyServer(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		locks := acquire(t, ns, 10)
		for _, s := range servers {
			s.several, s.exchanges = serverError("LOADING Redis is loading the dataset in memory"), nil
		}
		for _, r := range renew(t.Context(), locks) {
			require.ErrorIs(t, r.failed.Failed[0].Err, servers[0].several)
			require.False(t, r.failed.Lost())
		}
		for _, s := range servers {
			require.Len(t, s.exchanges, 1)
		}
	})
}

// serverError is an error that a server answers.
type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

// Each lock has its own result: one is held by another process, another is fine. Without answers none is lost.
func TestRenewalsAreCountedOneByOne(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		locks := acquire(t, ns, 3)
		for i, s := range servers {
			s.keys["1"] = "somebody else's"
			if i == 0 && len(servers) > 1 {
				delete(s.keys, "2")
			}
		}
		all := renew(t.Context(), locks)
		require.Nil(t, all[0].failed)
		require.True(t, all[1].failed.Lost())
		require.Len(t, all[1].failed.Failed, len(servers))
		require.Nil(t, all[2].failed, "a majority has it")
		for _, s := range servers {
			s.lose = 1
		}
		for _, r := range renew(t.Context(), locks) {
			require.NotNil(t, r.failed)
			require.False(t, r.failed.Answered())
			require.False(t, r.failed.Lost())
		}
	})
}

// However many renewals are due, few batches are under way while a server does not answer, and none is forgotten.
func TestRenewalsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		locks := acquire(t, ns, 5000)
		var mu sync.Mutex
		underWay, most := 0, 0
		servers[0].before = func(redis.Cmder) {
			mu.Lock()
			underWay++
			most = max(most, underWay)
			mu.Unlock()
			time.Sleep(50 * time.Millisecond)
			mu.Lock()
			underWay--
			mu.Unlock()
		}
		for _, r := range renew(t.Context(), locks) {
			require.Nil(t, r.failed)
		}
		require.Equal(t, 4, most)
	})
}

// A node that hangs costs no lock any time.
func TestRenewalsWithAHangingNode(t *testing.T) {
	leftBehind(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		locks := acquire(t, ns, 10)
		resumed := make(chan struct{})
		servers[2].before = func(redis.Cmder) { <-resumed }
		for i := range 2 {
			for _, r := range renew(t.Context(), locks) {
				require.Nil(t, r.failed, i)
				require.LessOrEqual(t, r.after, 50*time.Millisecond, i)
			}
		}
		close(resumed)
	})
}

// A node that hangs is sent few pipelines, also when nobody waits for it any more.
func TestRenewalsThatANodeNeverAnswers(t *testing.T) {
	leftBehind(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		locks := acquire(t, ns, 10)
		resumed := make(chan struct{})
		var sent atomic.Int32
		servers[2].before = func(redis.Cmder) { sent.Add(1); <-resumed }
		for i := range 20 {
			for _, r := range renew(t.Context(), locks) {
				require.Nil(t, r.failed, i)
			}
			time.Sleep(ttl / 10)
		}
		require.EqualValues(t, 4, sent.Load())
		close(resumed)
		synctest.Wait()
		for _, r := range renew(t.Context(), locks) {
			require.Nil(t, r.failed)
		}
		synctest.Wait()
		require.EqualValues(t, 5, sent.Load(), "it answers, and is asked again")
	})
}

// What one renewal leaves to be done does not keep others from knowing that their locks are extended.
func TestRenewalsDoNotWaitForEachOther(t *testing.T) {
	each(t, func(t *testing.T, ns *quorum.Nodes, servers []*server) {
		locks := acquire(t, ns, 10)
		resumed := make(chan struct{})
		var extended atomic.Int32
		for range 2 {
			for _, a := range locks {
				a.Renew(t.Context(), time.Now(), func(_ time.Time, failed *quorum.Tally) func() {
					require.Nil(t, failed)
					extended.Add(1)
					return func() { <-resumed }
				})
			}
			time.Sleep(time.Second)
		}
		require.EqualValues(t, 20, extended.Load())
		close(resumed)
	})
}
