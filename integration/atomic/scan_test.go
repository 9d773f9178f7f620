//go:build unix

package atomic_test

import (
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// rank is a number that can't be read, as one whose name is looked up elsewhere.
type rank int64

var errNoRank = errors.New("no such rank")

func (*rank) Scan(any) error {
	return fmt.Errorf("%w: %w: %w", errNoRank, nogap.ErrNotUnique, sql.ErrNoRows)
}

// The error with which a type of the caller's refuses a value does not say that the row is not there, or is there twice: the write
// stands, once.
func TestValueThatCannotBeScanned(t *testing.T) {
	isUnread := func(t *testing.T, err error) {
		t.Helper()
		require.ErrorIs(t, err, errNoRank)
		require.NotErrorIs(t, err, sql.ErrNoRows)
		require.NotErrorIs(t, err, nogap.ErrNotUnique)
		var refused *atomic.RefusedError
		require.False(t, errors.As(err, &refused), "%v", err)
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		t.Run("Counter", func(t *testing.T) {
			db := items(t, target, "BIGINT")
			for i, opts := range [][]atomic.Option{nil, {atomic.CreateMissing()}} {
				setStock(t, db, 5)
				_, err := newStock[rank](t, db, opts...).Increment(t.Context(), 1, "sku-1")
				isUnread(t, err)
				want := 5
				if errors.Is(err, nogap.ErrOutcomeUnknown) {
					want = 6
				}
				require.EqualValues(t, want, stockOf[int64](t, db, "sku-1"), "%d: %v", i, err)
			}
			_, err := newStock[rank](t, db).Get(t.Context(), "sku-1")
			isUnread(t, err)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		})
		t.Run("SingleUse", func(t *testing.T) {
			type ticket struct {
				ID   int  `db:"id"`
				Rank rank `db:"seat"`
			}
			db := target.Open(t)
			exec(t, db, "CREATE TABLE tickets (id INT PRIMARY KEY, seat INT NOT NULL)")
			exec(t, db, "INSERT INTO tickets VALUES (1, 1)")
			tickets, err := atomic.NewSingleUse[ticket](db, "tickets", atomic.DeleteUsed())
			require.NoError(t, err)
			_, err = tickets.Use(t.Context(), 1)
			isUnread(t, err)
			require.NotErrorIs(t, err, atomic.ErrUsed)
			left := value[int](t, db, "SELECT count(*) FROM tickets")
			require.Equal(t, errors.Is(err, nogap.ErrOutcomeUnknown), left == 0, "%v, and %d are left", err, left)
		})
	})
}
