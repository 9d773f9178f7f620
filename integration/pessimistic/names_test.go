//go:build unix

package pessimistic_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// Any text names a lock, and names the same one whatever the character set of the connection is.
func TestNamedLockOddNames(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db, other := target.Connect(t, dsn), target.Connect(t, dsn)
		if isSQLite(target) {
			other = nil // its lock is the whole database's
		} else if target.Driver == "mysql" {
			other = target.Connect(t, dsn+map[bool]string{true: "&", false: "?"}[strings.Contains(dsn, "?")]+"collation=latin1_swedish_ci")
		}
		ctx := concurrent.Within(t, time.Minute)
		for _, name := range []string{"Zürich", "😀", "\xff\xfe", "a\x00b", strings.Repeat("long", 100)} {
			err := pessimistic.WithNamedLock(ctx, db, name, func(context.Context, *sqlx.Tx) error {
				if other != nil {
					err := pessimistic.WithNamedLock(ctx, other, name, doNothing, pessimistic.NoWait())
					require.ErrorIs(t, err, pessimistic.ErrLocked, "%q", name)
				}
				return nil
			})
			require.NoError(t, err, "%q", name)
		}
	})
}
