package optimistic_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/optimistic"
)

func TestOptionGivenTwice(t *testing.T) {
	db := newShop().DB()
	for name, opt := range map[string]func() optimistic.Option{
		"VersionColumn": func() optimistic.Option { return optimistic.VersionColumn("version") },
		"WithKey":       func() optimistic.Option { return optimistic.WithKey("id") },
		"ReadOnly":      func() optimistic.Option { return optimistic.ReadOnly("stock") },
		"WithDialect":   func() optimistic.Option { return optimistic.WithDialect(nogap.SQLite) },
		"LockAfter":     func() optimistic.Option { return optimistic.LockAfter(1) },
		"MaxAttempts":   func() optimistic.Option { return optimistic.MaxAttempts(3) },
		"Backoff":       func() optimistic.Option { return optimistic.Backoff(func(int) time.Duration { return 0 }) },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := optimistic.NewTable[Item](db, "items", opt())
			require.NoError(t, err)
			_, err = optimistic.NewTable[Item](db, "items", opt(), opt())
			require.EqualError(t, err, "optimistic: "+name+" is given twice")
			retry, ok := opt().(optimistic.RetryOption)
			if !ok {
				return
			}
			err = optimistic.RetryOnVersionConflict(t.Context(), func(context.Context) error { panic("called") }, retry, retry)
			require.EqualError(t, err, "optimistic: "+name+" is given twice")
		})
	}
}
