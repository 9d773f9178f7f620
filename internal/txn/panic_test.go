package txn_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

// boom is an argument whose Value panics. database/sql leaves a lock held then, see abandon, so the pool isn't closed here.
type boom struct{}

func (boom) Value() (driver.Value, error) { panic("boom") }

func TestPanicInAnArgument(t *testing.T) {
	db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row(int64(1)), nil })
	require.PanicsWithValue(t, "boom", func() {
		txn.Do(t.Context(), db, nil, func(tx *sql.Tx) error {
			return tx.QueryRowContext(t.Context(), "SELECT $1", boom{}).Err()
		})
	})
	require.PanicsWithValue(t, "boom", func() {
		txn.With(t.Context(), db, func(c *txn.Conn) error {
			return c.QueryRow(t.Context(), "UPDATE items SET stock = $1 RETURNING stock", []any{boom{}}, new(int64))
		})
	})
}
