//go:build unix

package outcome_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
)

// The disk of SQLite is full, which its own limit of pages stands for: every change of an item takes a page, by a trigger, until
// there are no more. A call that comes to the end in its midst is refused as a whole. When there is room again, the same pool
// goes on.
func TestFullDisk(t *testing.T) {
	matrix.Parallel(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
		s := newStorm(t, target, "disk full", *calls)
		execute(t, s.direct, "CREATE TABLE filler (id INTEGER PRIMARY KEY, text BLOB)")
		execute(t, s.direct, "CREATE TRIGGER fill AFTER UPDATE ON items BEGIN INSERT INTO filler (text) VALUES (zeroblob(3000)); END")
		c := s.connect(t, s.dsn)
		c.db.SetMaxOpenConns(1) // the limit is that of a connection
		ctx := concurrent.Within(t, s.enough())
		var used int
		require.NoError(t, c.db.QueryRowContext(ctx, "PRAGMA page_count").Scan(&used))
		limit := func(pages int) {
			_, err := c.db.ExecContext(ctx, fmt.Sprint("PRAGMA max_page_count = ", pages))
			require.NoError(t, err)
		}
		limit(used + s.rng(0).IntN(20))
		refused := 0
		for range *calls {
			err, ok := s.call(ctx, c, s.fault)
			require.True(t, ok)
			refused += count(err != nil && strings.Contains(err.Error(), "full"))
		}
		s.struck(s.fault, refused)
		require.Positive(t, refused)
		limit(1_000_000)
		for ok := true; ok; {
			var err error
			err, ok = s.call(ctx, c, "room again")
			require.NoError(t, err)
		}
		s.audit(t, c)
	})
}
