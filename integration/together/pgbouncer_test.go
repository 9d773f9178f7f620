//go:build unix

package together_test

import (
	"database/sql"
	"net/url"
	"sync"
	stdatomic "sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/expect"
	"github.com/nogap-go/nogap/integration/leak"
	"github.com/nogap-go/nogap/integration/matrix"
)

// Behind PgBouncer in transaction pooling the drivers need a setting: see the README. Without it a call may fail, but what
// was acknowledged must be there.
func TestPgBouncerWithoutTheSetting(t *testing.T) {
	matrix.Run(t, matrix.PgBouncer(), func(t *testing.T, target matrix.Target) {
		if target.Driver == "postgres" && expect.Failure(t, "lib/pq sends PREPARE and EXECUTE apart, and PgBouncer gives the latter to another server") {
			return
		}
		u, err := url.Parse(target.DSN(t))
		require.NoError(t, err)
		u.RawQuery = "sslmode=disable"
		db, err := sql.Open(target.Driver, u.String())
		require.NoError(t, err)
		t.Cleanup(func() {
			leak.Connections(t, db)
			require.NoError(t, db.Close())
		})
		db.SetMaxOpenConns(20)
		const callers, calls = 10, 50
		var acknowledged [2]stdatomic.Int64
		var wg sync.WaitGroup
		for i, table := range []string{"pens", "cups"} {
			exec(t, db, "CREATE TABLE "+table+" (id VARCHAR(40) PRIMARY KEY, stock BIGINT NOT NULL)")
			exec(t, db, "INSERT INTO "+table+" VALUES ('a', 0)")
			stock, err := atomic.NewCounter[int64](db, table, "stock")
			require.NoError(t, err)
			for range callers {
				wg.Go(func() {
					for range calls {
						if _, err := stock.Increment(t.Context(), 1, "a"); err == nil {
							acknowledged[i].Add(1)
						}
					}
				})
			}
		}
		wg.Wait()
		var pens, cups int64
		require.NoError(t, db.QueryRow("SELECT (SELECT stock FROM pens), (SELECT stock FROM cups)").Scan(&pens, &cups))
		require.Equal(t, [2]int64{acknowledged[0].Load(), acknowledged[1].Load()}, [2]int64{pens, cups})
		require.Positive(t, pens+cups)
	})
}
