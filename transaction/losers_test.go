package transaction_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/transaction"
)

// Calls that have lost run their next attempts one after another, the other calls go on meanwhile, and nobody who waits for
// the turn holds a connection.
func TestLosersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(nil)
		db := s.DB()
		defer db.Close()
		const losers = 5
		running, most := 0, 0
		results := make(chan error, losers)
		for range losers {
			go func() {
				attempts := 0
				results <- transaction.Run(t.Context(), db, func(ctx context.Context, tx *sqlx.Tx) error {
					if attempts++; attempts == 1 {
						return deadlock
					}
					running++
					most = max(most, running)
					time.Sleep(10 * time.Millisecond)
					running--
					return nil
				}, asPostgres)
			}()
		}
		time.Sleep(5 * time.Millisecond)
		synctest.Wait()
		require.Equal(t, 1, db.Stats().InUse)
		require.NoError(t, transaction.Run(t.Context(), db, write, asPostgres), "who has not lost does not wait")
		for range losers {
			require.NoError(t, <-results)
		}
		require.Equal(t, 1, most)
	})
}

// A turn is advice: one that hangs keeps the others up for the longest wait of the backoff only.
func TestTurnIsAdvice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(nil)
		db := s.DB()
		defer db.Close()
		hangs := make(chan struct{})
		run := func(second func()) error {
			attempts := 0
			return transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error {
				if attempts++; attempts == 1 {
					return deadlock
				}
				second()
				return nil
			}, asPostgres)
		}
		go run(func() { <-hangs })
		time.Sleep(100 * time.Millisecond)
		var o seen
		defer nogap.Observe(db, &o)()
		start := time.Now()
		require.NoError(t, run(func() {}))
		require.InDelta(t, 250*time.Millisecond, o.ended[0].Waited, float64(5*time.Millisecond))
		require.Zero(t, o.ended[0].WaitedInServer)
		require.InDelta(t, 250*time.Millisecond, time.Since(start), float64(5*time.Millisecond))

		time.Sleep(time.Second) // the turn has been given up
		start = time.Now()
		require.NoError(t, run(func() {}))
		require.Less(t, time.Since(start), 5*time.Millisecond)
		close(hangs)
		synctest.Wait()
	})
}

// How long the turn is waited for, and when it is given up, depends on how long the lost attempt took.
func TestTimesOfATurn(t *testing.T) {
	hours := transaction.Backoff(func(failed int) time.Duration { return time.Duration(failed-1) * time.Hour })
	for name, tt := range map[string]struct {
		holders    int           // who come one after another, a second apart, and hang when they have the turn
		held, lost time.Duration // what the lost attempts took of the holders, and of the one that comes last
		want       time.Duration // how long the last one waits for its turn
		opts       []transaction.Option
	}{
		"waits as long as the backoff":   {1, 10 * time.Second, time.Millisecond, 250 * time.Millisecond, nil},
		"waits sixty times the attempt":  {1, 10 * time.Second, 100 * time.Millisecond, 6 * time.Second, nil},
		"waits for no more than this":    {7, 10 * time.Second, 2 * time.Second, time.Minute, nil},
		"whatever the backoff is":        {7, 10 * time.Second, time.Millisecond, time.Minute, []transaction.Option{hours}},
		"is given up after a second":     {1, time.Millisecond, time.Second, time.Second, nil},
		"is given up after ten attempts": {1, 300 * time.Millisecond, time.Second, 3 * time.Second, nil},
		"is given up after ten seconds":  {1, 20 * time.Second, time.Second, 10 * time.Second, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := server(nil).DB()
				defer db.Close()
				hangs := make(chan struct{})
				run := func(takes time.Duration, second func()) (waited time.Duration) {
					var lost time.Time
					err := transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error {
						if lost.IsZero() {
							time.Sleep(takes)
							lost = time.Now()
							return deadlock
						}
						waited = time.Since(lost)
						second()
						return nil
					}, append(tt.opts, asPostgres)...)
					require.NoError(t, err)
					return waited
				}
				// The last holder loses at the end, and the one that comes last 10 ms later.
				end := tt.held + time.Duration(tt.holders)*time.Second + tt.lost
				for n := range tt.holders {
					go func() {
						time.Sleep(end - tt.held - time.Duration(tt.holders-1-n)*time.Second)
						run(tt.held, func() { <-hangs })
					}()
				}
				time.Sleep(end + 10*time.Millisecond - tt.lost)
				require.InDelta(t, tt.want, run(tt.lost, func() {}), float64(15*time.Millisecond))
				close(hangs)
				synctest.Wait()
			})
		})
	}
}

// In the callback of another database the call waits for no turn: who has it may wait for what that callback has locked.
func TestNoTurnInsideACallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other := server(nil), server(nil)
		db, otherDB := s.DB(), other.DB()
		defer db.Close()
		defer otherDB.Close()
		hangs := make(chan struct{})
		twice := func(second func()) func(context.Context, *sqlx.Tx) error {
			attempts := 0
			return func(context.Context, *sqlx.Tx) error {
				if attempts++; attempts == 1 {
					return deadlock
				}
				second()
				return nil
			}
		}
		go transaction.Run(t.Context(), db, twice(func() { <-hangs }), asPostgres)
		time.Sleep(100 * time.Millisecond)
		start := time.Now()
		require.NoError(t, transaction.Run(t.Context(), otherDB, func(ctx context.Context, _ *sqlx.Tx) error {
			return transaction.Run(ctx, db, twice(func() {}), asPostgres)
		}, asPostgres))
		require.Less(t, time.Since(start), 5*time.Millisecond)
		close(hangs)
		synctest.Wait()
	})
}
