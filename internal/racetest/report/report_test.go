package report_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/racetest/explore"
	"github.com/nogap-go/nogap/internal/racetest/fakeitems"
	"github.com/nogap-go/nogap/internal/racetest/report"
)

type work = func(context.Context, *sql.DB) error

// explored explores two clients and returns the report.
func explored(t *testing.T, alice, bob work, change func(*explore.Config)) *report.Report {
	t.Helper()
	cfg := explore.Config{
		Connector: fakeitems.New(), MaxSchedules: 50, Budget: time.Minute,
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, fakeitems.Refill)
			return err
		},
		Clients: []explore.Client{{Name: "alice", Run: alice}, {Name: "bob", Run: bob}},
	}
	if change != nil {
		change(&cfg)
	}
	result, err := explore.Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Nil(t, result.Failure)
	require.NotEmpty(t, result.Inconclusive())
	return report.New("TestShop", 1, []string{"alice", "bob"}, result)
}

// inconclusive returns what is said, and the same without line breaks.
func inconclusive(t *testing.T, r *report.Report) (text, flat string) {
	t.Helper()
	text = r.Inconclusive()
	for _, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "replay") {
			require.LessOrEqual(t, utf8.RuneCountInString(line), 100, line)
		}
	}
	return text, strings.Join(strings.Fields(text), " ")
}

func read(ctx context.Context, db *sql.DB) (n int, err error) {
	return n, db.QueryRowContext(ctx, fakeitems.Read).Scan(&n)
}

func buy(ctx context.Context, db *sql.DB) error {
	n, err := read(ctx, db)
	if err == nil {
		_, err = db.ExecContext(ctx, fakeitems.Set, n-1)
	}
	return err
}

func take(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, fakeitems.Take)
	return err
}

// What goes wrong once is shown as it was, with how it differs and what to look for.
func TestWrongOnce(t *testing.T) {
	done := 0
	r := explored(t, take, func(ctx context.Context, db *sql.DB) error {
		if done++; done == 3 { // in the first schedule, before the orders of whole clients are run
			_, err := db.ExecContext(ctx, fakeitems.Set, 3)
			return err
		}
		return take(ctx, db)
	}, nil)
	text, flat := inconclusive(t, r)
	require.Contains(t, flat, "racetest: inconclusive: a schedule ended as no order of whole clients does, and not when it was played again 3 times. "+
		"The clients don't do the same each time:")
	require.Contains(t, text, "\n     alice  ")
	require.Contains(t, text, "UPDATE items SET stock = $1 WHERE id = 1 [3]")
	require.Contains(t, text, "\ndiffers   items, id 1: stock is ")
	require.Contains(t, text, "\nreplay    RACETEST_REPLAY='")
	require.Contains(t, flat, "so far no failure in ")
}

// Orders of whole clients that don't end alike say which one it was, and in what.
func TestOrderThatVaries(t *testing.T) {
	runs := 0
	r := explored(t, func(ctx context.Context, db *sql.DB) error {
		runs++
		if err := buy(ctx, db); err != nil || runs%2 == 0 {
			return err
		}
		return errors.New("the odd one")
	}, buy, nil)
	text, flat := inconclusive(t, r)
	require.Contains(t, flat, "bob, then alice, one after the other, did not always end alike, so that nothing can be said of a schedule that differs from them")
	require.Contains(t, flat, "a fixed seed")
	require.Contains(t, text, "\ndiffers   alice ends with: ")
	require.Contains(t, flat, "the odd one")
	require.Contains(t, text, "\n     alice  ")
}

// Clients that wait for each other for ever are shown with what they did before.
func TestNothingMoves(t *testing.T) {
	var a, b sync.Mutex
	locked := func(first, second *sync.Mutex) work {
		return func(ctx context.Context, db *sql.DB) error {
			first.Lock()
			defer first.Unlock()
			_, err := read(ctx, db)
			if err == nil {
				_, err = read(ctx, db)
			}
			for err == nil && !second.TryLock() {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(time.Millisecond):
				}
			}
			if err == nil {
				defer second.Unlock()
				err = take(ctx, db)
			}
			return err
		}
	}
	r := explored(t, locked(&a, &b), locked(&b, &a), func(cfg *explore.Config) { cfg.Patience, cfg.MaxSchedules = time.Second, 4 })
	text, flat := inconclusive(t, r)
	// It polls, so its state may be one or the other.
	require.Regexp(t, `racetest: inconclusive: nothing moves any more for 1s: alice waits inside the process \((select|runnable)\); `+
		`bob waits inside the process \((select|runnable)\)\.`, flat)
	require.Contains(t, flat, "that is a deadlock of the program")
	require.Contains(t, text, "… waits in the process")
	require.Contains(t, text, "\nreplay    RACETEST_REPLAY='alice:1 bob:2 alice:1'")
}

func TestBudgetUsedUp(t *testing.T) {
	r := explored(t, take, take, func(cfg *explore.Config) {
		cfg.Budget = time.Millisecond
		setup := cfg.Setup
		cfg.Setup = func(ctx context.Context, db *sql.DB) error {
			time.Sleep(5 * time.Millisecond)
			return setup(ctx, db)
		}
	})
	_, flat := inconclusive(t, r)
	require.Contains(t, flat, "the Budget was used up before the first schedule: it is 1ms, and the clients alone took ")
	require.Contains(t, flat, " % of it in Setup. Give more Budget, or make Setup faster (DELETE and INSERT, not DROP and CREATE)")
	require.NotContains(t, flat, "replay ")
}

// Clients that do other steps than before are named, with the step.
func TestOtherSteps(t *testing.T) {
	var n int
	cfg := explore.Config{
		Connector: fakeitems.New(), MaxSchedules: 50, Budget: time.Minute,
		Clients: []explore.Client{{Name: "alice", Run: take}, {Name: "bob", Run: func(ctx context.Context, db *sql.DB) error {
			for range 2 {
				if _, err := read(ctx, db); err != nil {
					return err
				}
			}
			if n++; n > 3 { // from the second schedule on
				_, err := read(ctx, db)
				return err
			}
			return take(ctx, db)
		}}},
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, fakeitems.Refill)
			return err
		},
		Ignore: []string{"items.stock"},
	}
	result, err := explore.Run(t.Context(), cfg)
	require.NoError(t, err)
	require.Positive(t, result.Diverged)
	r := report.New("TestShop", 1, []string{"alice", "bob"}, result)
	flat := strings.Join(strings.Fields(r.Passed()), " ")
	require.Contains(t, flat, "the clients did other steps than in the same schedule before. The first was bob: ")
	require.Contains(t, flat, "let them decide by what they read alone")
}
