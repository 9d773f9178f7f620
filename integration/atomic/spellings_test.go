//go:build unix

package atomic_test

import (
	"context"
	"fmt"
	stdatomic "sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/spelling"
)

// A member is there once, however it is spelt: the server's index decides, with the collation of its column.
func TestMemberInTwoSpellings(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		for i, s := range spelling.All(target.Dialect) {
			t.Run(s.Name, func(t *testing.T) {
				s.Prepare(t, db, target.Dialect)
				table := fmt.Sprint("members", i)
				exec(t, db, "CREATE TABLE "+table+" (id "+s.Column+" NOT NULL PRIMARY KEY)")
				members, err := atomic.NewSet(db, table, []string{"id"})
				require.NoError(t, err)
				change := func(do func(context.Context, ...any) (bool, error), member any, want bool) {
					t.Helper()
					changed, err := do(t.Context(), member)
					require.NoError(t, err)
					require.Equal(t, want, changed, "%v", member)
				}
				for _, pair := range [][2]any{{s.Stored, s.Other}, {s.Other, s.Stored}} {
					change(members.Add, pair[0], true)
					change(members.Add, pair[1], false)
					change(members.Add, s.Distinct, true)
					change(members.Remove, pair[1], true)
					change(members.Remove, pair[0], false)
					change(members.Remove, s.Distinct, true)

					tx, err := db.Begin()
					require.NoError(t, err)
					change(members.WithTx(tx).Add, pair[0], true)
					change(members.WithTx(tx).Add, pair[1], false)
					require.NoError(t, tx.Rollback())
				}
				var added stdatomic.Int32
				together(8, func(i int) {
					won, err := members.Add(context.Background(), []any{s.Stored, s.Other}[i%2])
					if err != nil {
						t.Error(err)
					}
					if won {
						added.Add(1)
					}
				})
				require.EqualValues(t, 1, added.Load())
			})
		}
	})
}
