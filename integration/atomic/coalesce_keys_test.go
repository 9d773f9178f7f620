//go:build unix

package atomic_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// A batch finds its row whatever the key looks like, and no other row, also where the key is written into the statement.
func TestCoalescerKeys(t *testing.T) {
	for name, keys := range map[string]struct {
		column string
		values []any
	}{
		"text": {"VARCHAR(60)", []any{
			"sku-1", "SKU_2.a:b/c@d", "O'Brien", `back\slash`, `back\'quote`, `"double"`, "`tick`", "two words", "trailing-",
			"--", "/* no comment */", "'; DELETE FROM items; --", "x' OR 'x'='x", "?", "$1", "{1}", "%", "_", "été", "漢字", "🔑",
			"line\nbreak", "1", "01", "1e0", "0x1", "NULL", "TRUE", "",
		}},
		"numbers": {"BIGINT", []any{
			int64(0), int64(1), int64(-1), int64(math.MaxInt64), int64(math.MinInt64), 2, int8(-3), uint16(4), uint64(5),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			matrix.Each(t, func(t *testing.T, target matrix.Target) {
				db := target.Open(t)
				exec(t, db, "CREATE TABLE items (id "+keys.column+" PRIMARY KEY, stock BIGINT NOT NULL)")
				const start, callers = 1000, 20
				first := "?"
				if target.Dialect == nogap.Postgres {
					first = "$1"
				}
				for _, key := range keys.values {
					_, err := db.Exec(fmt.Sprintf("INSERT INTO items VALUES (%s, %d)", first, start), key)
					require.NoError(t, err, "%v", key)
				}
				hot := coalescer(t, db)
				for i, key := range keys.values {
					together(callers, func(int) {
						_, err := hot.Decrement(context.Background(), int64(i+1), key)
						if err != nil {
							t.Errorf("%#v: %v", key, err)
						}
					})
				}
				for i, key := range keys.values {
					left := value[int64](t, db, "SELECT stock FROM items WHERE id = "+first, key)
					require.Equal(t, start-callers*int64(i+1), left, "%#v", key)
				}
			})
		})
	}
}

// A value beyond the signed integers comes back as it is also from a DECIMAL column and a server that is not strict, which
// would round a signed difference down without a word.
func TestCoalescerUnsignedDecimal(t *testing.T) {
	for _, target := range matrix.NotStrict() {
		for _, key := range []string{"literal", "not a literal"} {
			t.Run(target.Name+"/"+key, func(t *testing.T) {
				db := target.Open(t)
				exec(t, db, "CREATE TABLE items (id VARCHAR(40) PRIMARY KEY, stock DECIMAL(20,0) UNSIGNED NOT NULL)")
				const start uint64 = math.MaxInt64 + 1000
				exec(t, db, "INSERT INTO items VALUES (?, ?)", key, start)
				hot := atomic.Coalesce(newStock[uint64](t, db))
				left := make([]uint64, 50)
				together(len(left), func(i int) {
					var err error
					if left[i], err = hot.Decrement(context.Background(), 1, key); err != nil {
						t.Error(err)
					}
				})
				slices.Sort(left)
				for i, v := range left {
					require.Equal(t, start-uint64(len(left)-i), v)
				}
			})
		}
	}
}
