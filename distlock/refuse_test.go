package distlock_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// Bad input gets an error that names it, and nothing is held or written.

func TestNewRefuses(t *testing.T) {
	a, b, c := newRedis("a"), newRedis("b"), newRedis("c")
	type clients = []redis.UniversalClient
	type options = []distlock.Option
	one := clients{a}
	never := func(int) time.Duration { return 0 }
	tests := map[string]struct {
		clients clients
		opts    options
		want    string
	}{
		"no client":         {nil, nil, "no Redis client"},
		"an empty list":     {clients{}, nil, "no Redis client"},
		"a nil client":      {clients{a, nil, b}, nil, "client 1 is nil"},
		"a nil pointer":     {clients{(*redis.Client)(nil)}, nil, "client 0 is nil"},
		"a nil cluster":     {clients{a, b, (*redis.ClusterClient)(nil)}, nil, "client 2 is nil"},
		"two clients":       {clients{a, b}, nil, "2 nodes stand no more failures than 1: give an odd number"},
		"a client twice":    {clients{a, b, a}, nil, "clients 0 and 2 are the same: nodes must be independent"},
		"a long label":      {one, options{distlock.Label(strings.Repeat("l", 257))}, `Label: "llllllllllllllllllll"… has 257 bytes, more than 256`},
		"no hold":           {one, options{distlock.MaxHold(0)}, "MaxHold(0s) is not positive"},
		"Label twice":       {one, options{distlock.Label("a"), distlock.Label("a")}, "Label is given twice"},
		"MaxHold twice":     {one, options{distlock.MaxHold(1), distlock.MaxHold(1)}, "MaxHold is given twice"},
		"no TTL":            {one, options{distlock.TTL(0)}, "TTL(0s) is not positive"},
		"negative TTL":      {one, options{distlock.TTL(-time.Second)}, "TTL(-1s) is not positive"},
		"short TTL":         {one, options{distlock.TTL(9 * time.Millisecond)}, "TTL(9ms) is less than 10ms"},
		"no timeout":        {one, options{distlock.NodeTimeout(0)}, "NodeTimeout(0s) is not positive"},
		"negative timeout":  {one, options{distlock.NodeTimeout(-1)}, "NodeTimeout(-1ns) is not positive"},
		"long timeout":      {one, options{distlock.NodeTimeout(time.Minute)}, "NodeTimeout(1m0s) is more than a quarter"},
		"no wait":           {one, options{distlock.WaitLimit(0)}, "WaitLimit(0s) is not positive"},
		"negative wait":     {one, options{distlock.WaitLimit(-1)}, "WaitLimit(-1ns) is not positive"},
		"negative handover": {one, options{distlock.HandOver(-1)}, "HandOver(-1ns) is negative"},
		"no backoff":        {one, options{distlock.Backoff(nil)}, "Backoff(nil): a function is needed"},
		"no function":       {one, options{distlock.OnEvent(nil)}, "OnEvent(nil): a function is needed"},
		"no Observer":       {one, options{distlock.WithObserver(nil)}, "WithObserver(nil): an Observer is needed"},
		"a nil option":      {one, options{distlock.TTL(time.Second), nil}, "option 1 is nil"},
		"TTL twice":         {one, options{distlock.TTL(time.Second), distlock.TTL(time.Second)}, "TTL is given twice"},
		"HandOver twice":    {one, options{distlock.HandOver(0), distlock.HandOver(0)}, "HandOver is given twice"},
		"Prefix twice":      {one, options{distlock.Prefix(""), distlock.Prefix("")}, "Prefix is given twice"},
		"no wait, twice":    {one, options{distlock.WaitLimit(1), distlock.WaitLimit(-1)}, "WaitLimit is given twice"},
		"NodeTimeout twice": {one, options{distlock.NodeTimeout(1), distlock.HandOver(0), distlock.NodeTimeout(2)},
			"NodeTimeout is given twice"},
		"Backoff twice": {one, options{distlock.Backoff(never), distlock.Backoff(never)}, "Backoff is given twice"},
		"a TTL too short for the timeout": {
			one, options{distlock.NodeTimeout(251 * time.Millisecond), distlock.TTL(time.Second)},
			"NodeTimeout(251ms) is more than a quarter of the TTL, 1s",
		},
	}
	_, err := distlock.New(clients{a, b, c})
	require.NoError(t, err)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			locks, err := distlock.New(tt.clients, tt.opts...)
			require.ErrorContains(t, err, "distlock: "+tt.want)
			require.Nil(t, locks)
		})
	}
}

func TestLockerRefuses(t *testing.T) {
	locks, err := distlock.New([]redis.UniversalClient{newRedis("a")})
	require.NoError(t, err)
	one := func(context.Context, *distlock.Lease) error { panic("called") }
	all := func(context.Context, []*distlock.Lease) error { panic("called") }
	ctx := t.Context()
	tests := map[string]struct {
		err  error
		want string
	}{
		"Lock, no name":         {errorOf(locks.Lock(ctx, "")), "the name of the lock is empty"},
		"TryLock, no name":      {errorOf(locks.TryLock(ctx, "")), "the name of the lock is empty"},
		"WithLock, no name":     {locks.WithLock(ctx, "", one), "the name of the lock is empty"},
		"WithLock, no f":        {locks.WithLock(ctx, "a", nil), "the callback is nil"},
		"WithLocks, no names":   {locks.WithLocks(ctx, nil, all), "WithLocks without a name"},
		"WithLocks, empty name": {locks.WithLocks(ctx, []string{"a", ""}, all), "the name of the lock is empty"},
		"WithLocks, no f":       {locks.WithLocks(ctx, []string{"a"}, nil), "the callback is nil"},
		"Inspect, no name":      {errorOf(locks.Inspect(ctx, "")), "the name of the lock is empty"},
		"Break, no name":        {locks.Break(ctx, ""), "the name of the lock is empty"},
		"Unlock, nil":           {(*distlock.Lease)(nil).Unlock(ctx), "Unlock: the lease is nil"},
		"Unlock, zero":          {new(distlock.Lease).Unlock(ctx), "Unlock: the lease is nil"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.EqualError(t, tt.err, "distlock: "+tt.want)
			require.NotErrorIs(t, tt.err, distlock.ErrNotAcquired, "to try again would not help")
		})
	}
	lease, err := locks.TryLock(t.Context(), "a")
	require.NoError(t, err, "something is still held")
	require.NoError(t, lease.Unlock(t.Context()))
}

func errorOf[T any](_ T, err error) error { return err }

// On a Cluster or a Ring a lock and its queue must be in one slot, or the lock could be taken and not be released.
func TestClusterRefusesNamesWithoutSlot(t *testing.T) {
	clients := map[string]interface {
		redis.UniversalClient
		AddHook(redis.Hook)
	}{
		"Cluster": redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"a"}}),
		"Ring": redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": "a"}, NewClient: func(o *redis.Options) *redis.Client {
			shard := redis.NewClient(o)
			shard.AddHook(&fakeRedis{keys: make(map[string]string)})
			return shard
		}}),
		"Client": redis.NewClient(&redis.Options{Addr: "a", ContextTimeoutEnabled: true}),
	}
	for kind, client := range clients {
		t.Run(kind, func(t *testing.T) {
			defer client.Close()
			client.AddHook(&fakeRedis{keys: make(map[string]string)})
			for prefix, slotless := range map[string]bool{"lock:": true, "": true, "{shop}:": false} {
				locks, err := distlock.New([]redis.UniversalClient{client}, distlock.Prefix(prefix))
				require.NoError(t, err)
				defer locks.Close()
				for name, bad := range map[string]bool{
					"}": true, "{}": true, "{}x": true, "{}{a}": true, "}{": true, "a}": true,
					"{a}": false, "}{a}": false, "{": false, "a{b": false, `{"id":1}`: false,
				} {
					lease, err := locks.TryLock(t.Context(), name)
					if bad && slotless && kind != "Client" {
						require.EqualError(t, err, fmt.Sprintf(
							"distlock: the name %q has a closing brace but no {hash tag}, which a Redis Cluster needs", name))
						require.NotErrorIs(t, err, distlock.ErrNotAcquired, "to try again would not help")
						continue
					}
					require.NoError(t, err, name)
					require.NoError(t, lease.Unlock(t.Context()))
				}
			}
		})
	}
}

func TestNewFenceRefuses(t *testing.T) {
	db := newDB()
	t.Cleanup(func() { db.Close() })
	type options = []distlock.FenceOption
	tests := map[string]struct {
		table string
		opts  options
		want  string
	}{
		"no table":        {"", nil, `table name ""`},
		"a bad name":      {"lock_fences\x00", nil, `table name "lock_fences\x00"`},
		"a part missing":  {"app.", nil, `table name "app."`},
		"too many parts":  {"a.b.c.d", nil, `table name "a.b.c.d" has more than three parts`},
		"no dialect":      {"lock_fences", options{distlock.WithDialect(0)}, "WithDialect: unknown dialect Dialect(0)"},
		"unknown dialect": {"lock_fences", options{distlock.WithDialect(99)}, "Dialect(99)"},
		"negative one":    {"lock_fences", options{distlock.WithDialect(-1)}, "Dialect(-1)"},
		"a nil option":    {"lock_fences", options{distlock.WithDialect(nogap.MySQL), nil}, "option 1 is nil"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			fence, err := distlock.NewFence(db, tt.table, tt.opts...)
			require.ErrorContains(t, err, "distlock: ")
			require.ErrorContains(t, err, tt.want)
			require.Nil(t, fence)
		})
	}
	_, err := distlock.NewFence(nil, "lock_fences")
	require.EqualError(t, err, "distlock: NewFence: db is nil")
	_, err = distlock.NewFence(db, "f", distlock.WithDialect(nogap.MySQL), distlock.WithDialect(nogap.MySQL))
	require.EqualError(t, err, "distlock: NewFence: WithDialect is given twice")
}

func TestSchema(t *testing.T) {
	db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { panic("it was asked") })
	t.Cleanup(func() { db.Close() })
	fence, err := distlock.NewFence(db, "app.fences")
	require.NoError(t, err)
	quoted := map[nogap.Dialect]string{
		nogap.Postgres: `"app"."fences"`, nogap.SQLite: "`app`.`fences`",
		nogap.MySQL: "`app`.`fences`", nogap.MariaDB: "`app`.`fences`",
	}
	for d, table := range quoted {
		require.Contains(t, fence.Schema(d), "CREATE TABLE IF NOT EXISTS "+table+" (", d)
		mysql := d == nogap.MySQL || d == nogap.MariaDB
		require.Equal(t, mysql, strings.HasSuffix(fence.Schema(d), ") ENGINE=InnoDB"), d)
		require.Equal(t, !mysql, strings.HasSuffix(fence.Schema(d), ")"), d)
	}
	for _, d := range []nogap.Dialect{0, -1, 99} {
		require.PanicsWithValue(t, fmt.Sprintf("distlock: Schema: unknown dialect %v", d), func() { fence.Schema(d) })
	}
}

func TestFenceRefuses(t *testing.T) {
	db := newDB()
	t.Cleanup(func() { db.Close() })
	fence, err := distlock.NewFence(db, "lock_fences")
	require.NoError(t, err)
	locks, err := distlock.New([]redis.UniversalClient{newRedis("a")})
	require.NoError(t, err)

	_, err = fence.Mint(t.Context(), nil)
	require.EqualError(t, err, "distlock: Mint: the lease is nil")
	for length, want := range map[int]string{1000: "", 1001: `"nnnnnnnnnnnnnnnnnnnn"… has 1001 bytes, more than 1000`} {
		lease, err := locks.Lock(t.Context(), strings.Repeat("n", length))
		require.NoError(t, err, "a lock needs no limit")
		_, err = fence.Mint(t.Context(), lease)
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
		require.NoError(t, lease.Unlock(t.Context()))
	}

	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { tx.Rollback() })
	for _, token := range []distlock.Token{{}, {Name: "a"}, {Name: "a", Number: -1}, {Number: 1}} {
		require.ErrorContains(t, fence.Guard(t.Context(), tx, token), "is not a token that Mint returned", token)
	}
}

// panicOnce is a server whose hook panics when the first command passes.
type panicOnce struct {
	*fakeRedis
	done atomic.Bool
}

func (p *panicOnce) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	serve := p.fakeRedis.ProcessHook(next)
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !p.done.Swap(true) {
			panic("boom")
		}
		return serve(ctx, cmd)
	}
}

// The name of a lock is not blocked by a hook that has panicked once.
func TestPanickingHook(t *testing.T) {
	client := redis.NewClient(&redis.Options{ContextTimeoutEnabled: true})
	client.AddHook(&panicOnce{fakeRedis: &fakeRedis{keys: make(map[string]string)}})
	locks, err := distlock.New([]redis.UniversalClient{client})
	require.NoError(t, err)
	_, err = locks.TryLock(t.Context(), "a")
	require.ErrorIs(t, err, distlock.ErrNotAcquired)
	require.ErrorContains(t, err, "boom")
	lease, err := locks.TryLock(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, lease.Unlock(t.Context()))
}
