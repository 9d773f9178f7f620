//go:build unix

package look_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

type stamped struct {
	ID      int64     `db:"id"`
	Stock   int64     `db:"stock"`
	Version time.Time `db:"version"`
}

// A driver that cuts the microseconds of times makes one version of two: two editors both win.
func TestDriverThatCutsTimes(t *testing.T) {
	matrix.Run(t, mysqls(), func(t *testing.T, target matrix.Target) {
		plain := target.DSN(t)
		admin := target.Connect(t, plain)
		exec(t, admin, "CREATE TABLE stamps (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL, version DATETIME(6) NOT NULL)",
			"INSERT INTO stamps VALUES (1, 10, '2026-01-02 03:04:05')")
		for _, more := range []string{"", "&interpolateParams=true"} {
			db := target.Connect(t, with(plain, "timeTruncate=1s"+more))
			items, err := optimistic.NewTable[stamped](db, "stamps")
			require.NoError(t, err)
			both := 0
			first, err := items.Get(t.Context(), 1)
			if err == nil {
				for range 20 {
					first.Version = time.Now().UTC()
					_, err = admin.Exec("UPDATE stamps SET version = ? WHERE id = 1", first.Version.Truncate(time.Second))
					require.NoError(t, err)
					first, err = items.Get(t.Context(), 1)
					require.NoError(t, err)
					second := *first
					first.Stock, second.Stock = first.Stock+1, first.Stock+2
					if errors.Join(items.Update(t.Context(), first), items.Update(t.Context(), &second)) == nil {
						both++
					}
				}
			}
			t.Logf("both of two editors won %d of 20; %v", both, err)
			require.Zero(t, both)
			require.ErrorContains(t, err, "stamps: the version column \"version\": the driver writes times without microseconds")

			state, err := atomic.NewState[time.Time](db, "stamps", "version")
			require.NoError(t, err)
			exec(t, admin, "UPDATE stamps SET version = '2026-01-02 03:04:05' WHERE id = 1")
			at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			err = state.Transition(t.Context(), at.Add(time.Millisecond), at.Add(2*time.Millisecond), 1)
			t.Logf("Transition from a time that is not there: %v", err)
			require.ErrorContains(t, err, "stamps.version: the driver cuts the microseconds of times")
		}
		// Without the setting both hold.
		items, err := optimistic.NewTable[stamped](target.Connect(t, plain), "stamps")
		require.NoError(t, err)
		first, err := items.Get(t.Context(), 1)
		require.NoError(t, err)
		second := *first
		require.NoError(t, items.Update(t.Context(), first))
		require.ErrorIs(t, items.Update(t.Context(), &second), optimistic.ErrVersionConflict)
	})
}
