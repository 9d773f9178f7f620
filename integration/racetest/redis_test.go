//go:build unix

package racetest_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/internal/racetest/explore"
	"github.com/nogap-go/nogap/racetest"
	"github.com/nogap-go/nogap/racetest/raceredis"
)

// redisClient returns a client of a Redis, and keys with a prefix of the test's own.
func redisClient(t *testing.T) (c *redis.Client, key string) {
	t.Helper()
	c = redis.NewClient(&redis.Options{Addr: servers.Redis(t, 1)[0]})
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, "racetest:" + rand.Text()
}

// redisScenario is one on a database with a row whose stock is 10, and on Redis.
func redisScenario(t *testing.T, resource racetest.Resource, run ...func(context.Context, *sql.DB) error) explore.Config {
	t.Helper()
	target := matrix.SQLite()[0]
	dsn := target.DSN(t)
	db := target.Connect(t, dsn)
	mustExec(t, db, "CREATE TABLE items (id INTEGER PRIMARY KEY, stock INTEGER NOT NULL)", "INSERT INTO items VALUES (1, 10)")
	cfg := explore.Config{
		Connector: racetest.Open(target.Driver, dsn),
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, "UPDATE items SET stock = 10")
			return err
		},
		Resources:    []explore.Resource{resource},
		MaxSchedules: 3000,
		Budget:       4 * time.Minute,
	}
	for i, r := range run {
		cfg.Clients = append(cfg.Clients, explore.Client{Name: []string{"alice", "bob", "carol"}[i], Run: r})
	}
	return cfg
}

func takeOneOff(ctx context.Context, db *sql.DB) error {
	var stock int
	if err := db.QueryRowContext(ctx, "SELECT stock FROM items WHERE id = 1").Scan(&stock); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, "UPDATE items SET stock = ? WHERE id = 1", stock-1)
	return err
}

var errHeld = errors.New("somebody else has the lock")

// TestRedisBugs tests that bugs with Redis are found within ten schedules.
func TestRedisBugs(t *testing.T) {
	c, key := redisClient(t)
	r := raceredis.Clients(c)
	type run = func(context.Context, *sql.DB) error
	lookThenSet := func(ctx context.Context, db *sql.DB) error {
		n, err := c.Exists(ctx, key).Result()
		if err != nil || n > 0 {
			return errors.Join(err, errHeld)
		}
		if err := c.Set(ctx, key, 1, time.Minute).Err(); err != nil {
			return err
		}
		defer c.Del(ctx, key)
		return takeOneOff(ctx, db)
	}
	// Who finds it held deletes it all the same.
	deletesAlways := func(ctx context.Context, db *sql.DB) error {
		defer c.Del(ctx, key)
		ok, err := c.SetNX(ctx, key, 1, time.Minute).Result()
		if err != nil || !ok {
			return errors.Join(err, errHeld)
		}
		return takeOneOff(ctx, db)
	}
	counter := func(ctx context.Context, _ *sql.DB) error {
		n, err := c.Get(ctx, key).Int()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		return c.Set(ctx, key, n+1, 0).Err()
	}
	scripted := func(ctx context.Context, _ *sql.DB) error {
		n, err := c.Get(ctx, key).Int()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		return c.Eval(ctx, "return redis.call('SET', ARGV[1], ARGV[2])", nil, key, n+1).Err()
	}
	for name, runs := range map[string][]run{
		"counter of GET and SET":        {counter, counter},
		"script that names no key":      {scripted, scripted},
		"lock of EXISTS and SET":        {lookThenSet, lookThenSet},
		"lock that anybody gives back":  {deletesAlways, deletesAlways, deletesAlways},
		"list that is read and written": {moves(c, key), moves(c, key)},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := explore.Run(t.Context(), redisScenario(t, r, runs...))
			require.NoError(t, err)
			require.NotNil(t, result.Failure, "%+v", result)
			require.LessOrEqual(t, result.Failure.Number, 10)
			require.Equal(t, result.Failure.Replays, result.Failure.Replayed)
			require.Empty(t, result.Remarks)
			t.Logf("schedule %d, %v", result.Failure.Number, result.Elapsed)
		})
	}
}

// moves takes the first element off a list by reading and writing it.
func moves(c *redis.Client, key string) func(context.Context, *sql.DB) error {
	return func(ctx context.Context, _ *sql.DB) error {
		all, err := c.LRange(ctx, key, 0, -1).Result()
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return c.RPush(ctx, key, "first", "second").Err()
		}
		return c.LTrim(ctx, key, 1, -1).Err()
	}
}

var deleteIfMine = redis.NewScript(`if redis.call("GET", KEYS[1]) == ARGV[1] then return redis.call("DEL", KEYS[1]) end return 0`)

// TestRedisWithoutBugs tests that what is right is explored to its end.
func TestRedisWithoutBugs(t *testing.T) {
	c, key := redisClient(t)
	type run = func(context.Context, *sql.DB) error
	// It tries again until it has the lock, and gives back only its own.
	locked := func(ctx context.Context, db *sql.DB) error {
		token := rand.Text()
		for {
			ok, err := c.SetNX(ctx, key, token, time.Minute).Result()
			if err != nil {
				return err
			}
			if ok {
				break
			}
			time.Sleep(time.Millisecond)
		}
		defer deleteIfMine.Run(ctx, c, []string{key}, token)
		return takeOneOff(ctx, db)
	}
	watched := func(ctx context.Context, _ *sql.DB) error {
		for {
			err := c.Watch(ctx, func(tx *redis.Tx) error {
				n, err := tx.Get(ctx, key).Int()
				if err != nil && !errors.Is(err, redis.Nil) {
					return err
				}
				_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
					p.Set(ctx, key, n+1, 0)
					p.SAdd(ctx, key+":seen", n)
					p.HSet(ctx, key+":hash", n, n)
					p.ZAdd(ctx, key+":sorted", redis.Z{Score: float64(n), Member: n})
					return nil
				})
				return err
			}, key)
			if !errors.Is(err, redis.TxFailedErr) {
				return err
			}
		}
	}
	counted := func(ctx context.Context, _ *sql.DB) error { return c.Incr(ctx, key).Err() }
	consumer := func(ctx context.Context, db *sql.DB) error {
		if _, err := c.BLPop(ctx, time.Minute, key).Result(); err != nil {
			return err
		}
		return takeOneOff(ctx, db)
	}
	producer := func(ctx context.Context, _ *sql.DB) error { return c.RPush(ctx, key, "job").Err() }
	streamed := func(ctx context.Context, db *sql.DB) error {
		_, err := c.XRead(ctx, &redis.XReadArgs{Streams: []string{key, "0"}, Block: 0}).Result()
		return err
	}
	adder := func(ctx context.Context, _ *sql.DB) error {
		return c.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: map[string]any{"a": 1, "b": 2}}).Err()
	}
	for name, runs := range map[string][]run{
		"lock with a token": {locked, locked},
		"WATCH":             {watched, watched},
		"INCR":              {counted, counted, counted},
		"BLPOP":             {consumer, producer},
		"XREAD":             {streamed, adder},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := explore.Run(t.Context(), redisScenario(t, raceredis.Clients(c), runs...))
			require.NoError(t, err)
			require.Nil(t, result.Failure, "%+v", result.Failure)
			require.Empty(t, result.Inconclusive())
			require.True(t, result.Complete, "%+v", result)
			require.Empty(t, result.Remarks)
			t.Logf("%d schedules, %d classes, pruned %v (%s), refused %d, diverged %d, %v", result.Schedules, result.Classes, result.Pruned, result.WhyNot, result.Refused, result.Diverged, result.Elapsed)
		})
	}
}

func TestRedisNotes(t *testing.T) {
	c, key := redisClient(t)
	t.Run("expired", func(t *testing.T) {
		expires := func(ctx context.Context, _ *sql.DB) error {
			// Long enough for the question that follows, how long it has.
			if err := c.Set(ctx, key, 1, 200*time.Millisecond).Err(); err != nil {
				return err
			}
			for c.Exists(context.Background(), key).Val() > 0 {
			}
			return c.Set(ctx, key+":done", 1, 0).Err()
		}
		_, err := explore.Run(t.Context(), redisScenario(t, raceredis.Clients(c), expires, expires))
		require.ErrorContains(t, err, "may have expired")
	})
	t.Run("nobody's", func(t *testing.T) {
		background := func(ctx context.Context, _ *sql.DB) error {
			return errors.Join(c.Exists(ctx, key).Err(), c.Incr(context.Background(), key).Err())
		}
		cfg := redisScenario(t, raceredis.Clients(c), background, background)
		cfg.Ignore = []string{"redis.ttl"}
		result, err := explore.Run(t.Context(), cfg)
		require.NoError(t, err)
		require.Len(t, result.Remarks, 1)
		require.Contains(t, result.Remarks[0], "a context that is no Client's")
	})
	t.Run("left from before", func(t *testing.T) {
		require.NoError(t, c.Set(t.Context(), key+":old", 41, 0).Err())
		counted := func(ctx context.Context, _ *sql.DB) error {
			n, err := c.Incr(ctx, key+":old").Result()
			if n > 40 {
				return errors.New("the value is from before")
			}
			return err
		}
		result, err := explore.Run(t.Context(), redisScenario(t, raceredis.Clients(c), counted, counted))
		require.NoError(t, err)
		require.Nil(t, result.Failure)
		require.True(t, result.Complete)
	})
	t.Run("waits for ever", func(t *testing.T) {
		var got error
		waits := func(ctx context.Context, _ *sql.DB) error {
			_, err := c.BLPop(ctx, 0, key+":empty").Result()
			got = err
			return nil
		}
		_, err := explore.Run(t.Context(), redisScenario(t, raceredis.Clients(c), waits, waits))
		require.NoError(t, err)
		require.ErrorContains(t, got, "waits for ever")
	})
	require.NoError(t, c.Ping(t.Context()).Err(), "the hook is out of the way")
}
