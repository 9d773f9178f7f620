package distlock_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/distlock"
)

type spanKey struct{ observer string }

// journal is what Observers were told.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

// tracer is an Observer that puts a span into the context, and notes what it is told.
type tracer struct {
	name    string
	journal *journal
	results chan nogap.Result
}

func newTracer(name string, j *journal) *tracer {
	return &tracer{name, j, make(chan nogap.Result, 10)}
}

func (o *tracer) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	o.journal.add(o.name + " start " + op.Name + op.Table)
	return context.WithValue(ctx, spanKey{o.name}, op.Name), func(r nogap.Result) {
		o.journal.add(o.name + " end " + op.Name + " " + string(r.Outcome))
		o.results <- r
	}
}

func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		a, b := newTracer("a", &log), newTracer("b", &log)
		locks := newLocks(t, distlock.WithObserver(a), distlock.WithObserver(b))
		told := func(want ...string) {
			t.Helper()
			require.Equal(t, want, log.take())
			<-b.results
		}

		lease, err := locks.Lock(t.Context(), "secret")
		require.NoError(t, err)
		told("a start distlock.Lock", "b start distlock.Lock", "b end distlock.Lock ok", "a end distlock.Lock ok")
		require.Equal(t, nogap.Result{Outcome: nogap.OutcomeOK, Attempts: 1}, <-a.results)
		require.Nil(t, lease.Context().Value(spanKey{"a"}), "the operation is over")

		_, err = locks.TryLock(t.Context(), "secret")
		told("a start distlock.TryLock", "b start distlock.TryLock", "b end distlock.TryLock refused", "a end distlock.TryLock refused")
		require.Equal(t, nogap.Result{Outcome: nogap.OutcomeRefused, Err: err}, <-a.results, "nothing was sent")

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = locks.Lock(ctx, "secret")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, nogap.Result{Outcome: nogap.OutcomeRefused, Waited: time.Second, Err: err}, <-a.results)
		<-b.results
		log.take()

		require.NoError(t, lease.Unlock(t.Context()))
		told("a start distlock.Unlock", "b start distlock.Unlock", "b end distlock.Unlock ok", "a end distlock.Unlock ok")
		require.Equal(t, nogap.Result{Outcome: nogap.OutcomeOK, Attempts: 1}, <-a.results)
		require.ErrorIs(t, lease.Unlock(t.Context()), distlock.ErrLost)
		require.Equal(t, nogap.OutcomeError, (<-a.results).Outcome)
		<-b.results
		log.take()

		err = locks.WithLock(t.Context(), "secret", func(ctx context.Context, _ *distlock.Lease) error {
			require.Equal(t, "distlock.WithLock", ctx.Value(spanKey{"a"}))
			require.Equal(t, "distlock.WithLock", ctx.Value(spanKey{"b"}))
			log.add("callback")
			return nil
		})
		require.NoError(t, err)
		told("a start distlock.WithLock", "b start distlock.WithLock", "callback", "b end distlock.WithLock ok", "a end distlock.WithLock ok")
		require.Equal(t, nogap.Result{Outcome: nogap.OutcomeOK, Attempts: 1}, <-a.results)

		mine := errors.New("mine")
		err = locks.WithLocks(t.Context(), []string{"x", "y"}, func(context.Context, []*distlock.Lease) error { return mine })
		require.Equal(t, mine, err)
		require.Equal(t, nogap.Result{Outcome: nogap.OutcomeError, Attempts: 2, Err: mine, Callback: true}, <-a.results)
		<-b.results
		log.take()

		require.Panics(t, func() {
			locks.WithLock(t.Context(), "secret", func(context.Context, *distlock.Lease) error { panic("boom") })
		})
		told("a start distlock.WithLock", "b start distlock.WithLock", "b end distlock.WithLock error", "a end distlock.WithLock error")
	})
}

// A lock that is handed over in the process was waited for, and the nodes were not asked.
func TestObserverOfAHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newTracer("o", new(journal))
		locks := newLocks(t, distlock.WithObserver(o), distlock.HandOver(time.Minute))
		lease, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		<-o.results
		done := make(chan error)
		go func() {
			_, err := locks.Lock(t.Context(), "a")
			done <- err
		}()
		time.Sleep(time.Second)
		require.NoError(t, lease.Unlock(t.Context()))
		require.NoError(t, <-done)
		results := map[time.Duration]nogap.Result{}
		for range 2 {
			r := <-o.results
			results[r.Waited] = r
		}
		require.Equal(t, map[time.Duration]nogap.Result{
			0:           {Outcome: nogap.OutcomeOK}, // Unlock
			time.Second: {Outcome: nogap.OutcomeOK, Waited: time.Second},
		}, results)
	})
}

// What is waited for another process is in Redis, what is waited for others of the own process is not.
func TestObserverOfWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newTracer("o", new(journal))
		client := newRedis("127.0.0.1:1")
		defer client.Close()
		var locks [2]*distlock.Locker
		for i := range locks {
			var err error
			locks[i], err = distlock.New([]redis.UniversalClient{client}, distlock.WithObserver(o))
			require.NoError(t, err)
			defer locks[i].Close()
		}
		theirs, err := locks[1].Lock(t.Context(), "a")
		require.NoError(t, err)
		<-o.results
		done := make(chan *distlock.Lease)
		for range 2 {
			go func() {
				lease, err := locks[0].Lock(t.Context(), "a")
				require.NoError(t, err)
				done <- lease
			}()
			synctest.Wait()
		}
		time.Sleep(time.Second)
		require.NoError(t, theirs.Unlock(t.Context()))
		<-o.results
		first := <-done
		r := <-o.results
		require.GreaterOrEqual(t, r.Waited, time.Second)
		require.Equal(t, r.Waited, r.WaitedInServer)
		time.Sleep(time.Minute)
		require.NoError(t, first.Unlock(t.Context()))
		<-o.results
		second := <-done
		r = <-o.results
		require.GreaterOrEqual(t, r.Waited, time.Minute+time.Second)
		require.Less(t, r.WaitedInServer, time.Second, "it waited for the first")
		require.NoError(t, second.Unlock(t.Context()))
		<-o.results
	})
}

// The context of an event is that of the call in which it happens. The watchdog has none: it has the lease's values.
func TestEventContext(t *testing.T) {
	type caller struct{}
	synctest.Test(t, func(t *testing.T) {
		client := newRedis("127.0.0.1:1")
		defer client.Close()
		type seen struct {
			kind   distlock.EventKind
			caller any
			ended  bool
		}
		events := make(chan seen, 10)
		var first, told atomic.Int64
		locks, err := distlock.New([]redis.UniversalClient{client}, distlock.TTL(3*time.Second),
			distlock.WithObserver(newTracer("o", new(journal))),
			distlock.OnEvent(func(context.Context, distlock.Event) { first.Add(1) }),
			distlock.OnEvent(func(ctx context.Context, e distlock.Event) {
				events <- seen{e.Kind, ctx.Value(caller{}), ctx.Err() != nil}
				told.Add(1)
			}))
		require.NoError(t, err)
		defer locks.Close()
		from := func(name string) context.Context { return context.WithValue(t.Context(), caller{}, name) }

		ctx, cancel := context.WithCancel(from("lock"))
		lease, err := locks.Lock(ctx, "a")
		require.NoError(t, err)
		cancel()
		time.Sleep(1200 * time.Millisecond) // the watchdog extends it once
		ended, cancel := context.WithTimeout(from("waiter"), 100*time.Millisecond)
		defer cancel()
		_, err = locks.Lock(ended, "a")
		require.Error(t, err)
		client.FlushAll(t.Context())
		<-lease.Context().Done()
		synctest.Wait()
		require.ErrorIs(t, lease.Unlock(from("unlock")), distlock.ErrLost)
		for _, want := range []seen{
			{distlock.Acquired, "lock", false},
			{distlock.Extended, "lock", false},
			{distlock.Waited, "waiter", true},
			{distlock.Lost, "lock", false},
			{distlock.Extended, "lock", false},
			{distlock.Released, "unlock", false},
		} {
			require.Equal(t, want, <-events)
		}
		require.Empty(t, events)
		require.EqualValues(t, 6, told.Load())
		require.EqualValues(t, 6, first.Load(), "all functions are called")
	})
}
