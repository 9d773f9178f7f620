package explore_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/racetest/explore"
	"github.com/nogap-go/nogap/internal/racetest/fakeitems"
	"github.com/nogap-go/nogap/internal/racetest/play"
)

type work = func(context.Context, *sql.DB) error

func config(clients ...work) explore.Config {
	cfg := explore.Config{
		Connector: fakeitems.New(), MaxSchedules: 1000, Budget: time.Minute,
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, fakeitems.Refill)
			return err
		},
	}
	for i, c := range clients {
		cfg.Clients = append(cfg.Clients, explore.Client{Name: string(rune('a' + i)), Run: c})
	}
	return cfg
}

func run(t *testing.T, cfg explore.Config) *explore.Result {
	t.Helper()
	r, err := explore.Run(t.Context(), cfg)
	require.NoError(t, err)
	return r
}

func read(ctx context.Context, db *sql.DB) error {
	var n int
	return db.QueryRowContext(ctx, fakeitems.Read).Scan(&n)
}

func take(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, fakeitems.Take)
	return err
}

// readAndTake makes two steps that are right in any order.
func readAndTake(ctx context.Context, db *sql.DB) error {
	return errors.Join(read(ctx, db), take(ctx, db))
}

// runSteadily is run for what is counted. On a busy machine a client may seem to wait inside the process, which adds
// schedules: then it runs again.
func runSteadily(t *testing.T, cfg explore.Config, counted func(*explore.Result) bool) *explore.Result {
	t.Helper()
	r := run(t, cfg)
	for n := 1; n < 8 && !counted(r); n++ {
		r = run(t, cfg)
	}
	return r
}

func TestEveryOrder(t *testing.T) {
	cfg := config(readAndTake, readAndTake)
	cfg.Every = true
	r := runSteadily(t, cfg, func(r *explore.Result) bool { return r.Schedules == 6 })
	require.Equal(t, 6, r.Schedules, "all orders of two steps and two")
	require.True(t, r.Complete)
	every := r.Classes
	r = runSteadily(t, config(readAndTake, readAndTake), func(r *explore.Result) bool { return r.Classes == every })
	require.True(t, r.Complete)
	require.Equal(t, every, r.Classes, "pruning leaves out no class")
	r = runSteadily(t, config(read, read, read), func(r *explore.Result) bool { return r.Classes == 1 })
	require.Equal(t, 1, r.Classes, "readers don't disturb each other")
}

func TestThreeClients(t *testing.T) {
	cfg := config(readAndTake, readAndTake, readAndTake)
	cfg.Every = true
	r := runSteadily(t, cfg, func(r *explore.Result) bool { return r.Schedules == 90 })
	require.Equal(t, 90, r.Schedules)
	every := r.Classes
	r = runSteadily(t, config(readAndTake, readAndTake, readAndTake), func(r *explore.Result) bool { return r.Schedules < 90 })
	require.Equal(t, every, r.Classes)
	require.Less(t, r.Schedules, 90)
	cfg.Every, cfg.MaxPreemptions = false, 1
	r = run(t, cfg)
	require.True(t, r.Complete)
	require.Less(t, r.Classes, every)
}

// What is left over when not everything can be played is a walk, as far as it may go.
func TestWalk(t *testing.T) {
	five := func(ctx context.Context, db *sql.DB) error {
		for range 5 {
			if err := readAndTake(ctx, db); err != nil {
				return err
			}
		}
		return nil
	}
	cfg := config(five, five)
	cfg.MaxSchedules = 50
	r := run(t, cfg)
	require.Equal(t, 50, r.Schedules)
	require.False(t, r.Complete)
	require.Positive(t, r.Open)
}

// A client that waits for another one inside the process makes way.
func TestHandOver(t *testing.T) {
	var turn chan struct{}
	cfg := config(func(ctx context.Context, db *sql.DB) error {
		err := take(ctx, db)
		close(turn)
		return err
	}, func(ctx context.Context, db *sql.DB) error {
		if err := read(ctx, db); err != nil {
			return err
		}
		select {
		case <-turn:
			return take(ctx, db)
		case <-time.After(600 * time.Millisecond): // it is alone
			return take(ctx, db)
		}
	})
	setup := cfg.Setup
	cfg.Setup = func(ctx context.Context, db *sql.DB) error {
		turn = make(chan struct{})
		return setup(ctx, db)
	}
	cfg.MaxSchedules = 6
	r := run(t, cfg)
	require.Nil(t, r.Failure)
	require.Empty(t, r.Inconclusive())
	require.False(t, r.Pruned, "what they wait for is in no statement")
}

// Two clients that wait for each other for ever are not a pass.
func TestStuck(t *testing.T) {
	var a, b sync.Mutex
	locked := func(first, second *sync.Mutex) work {
		return func(ctx context.Context, db *sql.DB) error {
			first.Lock()
			defer first.Unlock()
			if err := errors.Join(read(ctx, db), read(ctx, db)); err != nil {
				return err
			}
			for !second.TryLock() {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Millisecond):
				}
			}
			defer second.Unlock()
			return take(ctx, db)
		}
	}
	cfg := config(locked(&a, &b), locked(&b, &a))
	cfg.Patience = time.Second
	cfg.MaxSchedules = 4
	r := run(t, cfg)
	require.Nil(t, r.Failure)
	require.Contains(t, r.Inconclusive(), "nothing moves any more")
}

// What goes wrong once is no failure, and no pass.
func TestOnce(t *testing.T) {
	done := 0
	cfg := config(readAndTake, func(ctx context.Context, db *sql.DB) error {
		if done++; done == 3 { // in the first schedule, before the orders of whole clients are run
			_, err := db.ExecContext(ctx, fakeitems.Set, 3)
			return err
		}
		return take(ctx, db)
	})
	r := run(t, cfg)
	require.Nil(t, r.Failure)
	require.Contains(t, r.Inconclusive(), "not when it was played again")
}

func TestLeak(t *testing.T) {
	_, err := explore.Run(t.Context(), config(take, func(ctx context.Context, db *sql.DB) error {
		_, err := db.BeginTx(context.Background(), nil)
		return err
	}))
	var leak *play.Leak
	require.ErrorAs(t, err, &leak)
	require.Equal(t, "b", leak.Client)
}
