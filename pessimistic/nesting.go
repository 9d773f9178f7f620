package pessimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

// holding says, in the context that a callback gets, what is locked around the callback.
type holding struct {
	outer     *holding
	pool      *pool
	locks     []lock
	exclusive bool
	tx        *sql.Tx
	server    dialect.Server
	ended     atomic.Bool // a context may live on in a goroutine that the callback started
}

type holdingKey struct{}

// around returns the innermost holding that ctx comes from, or nil.
func around(ctx context.Context) *holding {
	h, _ := ctx.Value(holdingKey{}).(*holding)
	return h
}

var errNested = errors.New("it is held by the call in whose callback this one is made, which would wait for itself; use " +
	"LockRow with the callback's tx")

// checkNesting returns an error if a call around this one holds one of the locks.
func (h *hold) checkNesting(ctx context.Context, locks []lock) error {
	for outer := around(ctx); outer != nil; outer = outer.outer {
		if outer.ended.Load() || outer.pool != h.pool || !outer.exclusive && !h.mode.Exclusive() {
			continue
		}
		for _, wanted := range locks {
			for _, held := range outer.locks {
				if wanted.lockID == held.lockID {
					return fmt.Errorf("%v: %w", wanted, errNested)
				}
			}
		}
	}
	return nil
}

// serverOf returns the server of a transaction: the one told, the one known if the transaction is that of a callback
// which ctx comes from, else what the server says itself.
func serverOf(ctx context.Context, tx *sqlx.Tx, told nogap.Dialect) (dialect.Server, error) {
	if told != 0 {
		return dialect.Assume(told)
	}
	for h := around(ctx); h != nil; h = h.outer {
		if h.tx == tx.Tx {
			return h.server, nil
		}
	}
	return dialect.Ask(ctx, tx)
}
