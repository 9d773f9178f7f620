package atomic_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// MySQL's driver takes several round trips for a statement with arguments. A batch has none, if its key allows it.
func TestCoalesceLiterals(t *testing.T) {
	for name, tt := range map[string]struct {
		key  any
		text string
		args int
	}{
		"plain key": {"sku-1", "UPDATE `items` SET `stock` = CASE WHEN LAST_INSERT_ID(`stock` - 9) = 0 THEN `stock` - 9 ELSE `stock` - 9 END" +
			" WHERE `id` = 'sku-1' AND `stock` >= 9 AND `stock` <= 9223372036854775807 AND `stock` <= 9223372036854775807", 0},
		"other key": {"O'Brien", "UPDATE `items` SET `stock` = CASE WHEN LAST_INSERT_ID(`stock` - ?) = 0 THEN `stock` - ? ELSE `stock` - ? END" +
			" WHERE `id` = ? AND `stock` >= ? AND `stock` <= ? AND `stock` <= 9223372036854775807", 6},
	} {
		bubble(name, t, func(t *testing.T) {
			release := make(chan struct{})
			var calls []fakedb.Call
			db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				if c.Kind == fakedb.Exec {
					<-release
					calls = append(calls, c)
				}
				return fakedb.Reply{RowsAffected: 1, LastInsertID: 100}, nil
			})
			defer db.Close()
			counter, err := atomic.NewCounter[int64](db, "items", "stock", atomic.WithDialect(nogap.MySQL))
			require.NoError(t, err)
			hot := atomic.Coalesce(counter)
			for range 10 {
				go hot.DecrementIfPositive(t.Context(), tt.key)
				synctest.Wait()
			}
			close(release)
			synctest.Wait()
			require.Len(t, calls, 2)
			require.Len(t, calls[0].Args, 5, "the first caller makes its call on the Counter")
			require.Equal(t, tt.text, calls[1].Query)
			require.Len(t, calls[1].Args, tt.args)
		})
	}
}
