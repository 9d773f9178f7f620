package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/keyqueue"
	"github.com/nogap-go/nogap/internal/perdb"
)

// lockID names a lock inside one *sql.DB: a row by its table, key columns and key; a named lock by its name alone. The
// zero lockID is the whole database.
type lockID struct {
	table, key string
}

// lock is a lock that a call wants.
type lock struct {
	lockID
	values []any // the key of a row
}

func (l lock) String() string {
	switch {
	case l.lockID == lockID{}:
		return "the database"
	case l.table == "":
		return fmt.Sprintf("the name %q", l.key)
	case len(l.values) == 1:
		return fmt.Sprintf("%s = %v", l.table, l.values[0])
	}
	return fmt.Sprintf("%s = %v", l.table, l.values)
}

// pool is what is known of one *sql.DB.
type pool struct {
	source dialect.Source
	line   keyqueue.Queue[lockID]
	galera atomic.Pointer[bool] // nil until somebody has asked
}

var pools perdb.Map[pool]

func poolOf(db *sql.DB) *pool {
	return pools.Of(db, func() *pool {
		source, _ := dialect.NewSource(db, 0) // fails only for a nil db or an unknown dialect
		return &pool{source: source}
	})
}

type turns []*keyqueue.Turn[lockID]

func (t turns) done() {
	for _, turn := range t {
		turn.Done()
	}
}

// queue waits for the turn at every lock, in their order, and returns those that it got, also with an error.
func (h *hold) queue(ctx context.Context, locks []lock) (got turns, _ error) {
	start := time.Now()
	defer func() { h.waited += time.Since(start) }()
	limited := ctx
	if h.timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, h.timeout)
		defer cancel()
	}
	for _, wanted := range locks {
		if h.noWait {
			turn, free := h.pool.line.Try(wanted.lockID)
			if !free {
				return got, fmt.Errorf("%w: another call in this process has %v", ErrLocked, wanted)
			}
			got = append(got, turn)
			continue
		}
		turn, err := h.pool.line.Wait(limited, wanted.lockID)
		switch {
		case err == nil:
			got = append(got, turn)
		case ctx.Err() != nil:
			return got, failed(fmt.Errorf("in line for %v: %w", wanted, ctx.Err()))
		default:
			return got, fmt.Errorf("%w: other calls in this process have %v", ErrLockTimeout, wanted)
		}
	}
	return got, nil
}
