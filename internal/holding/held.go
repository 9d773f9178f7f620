package holding

import (
	"context"
	"database/sql"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

// Held are the locks of a transaction around a call that the call would wait for, if it wanted one of them.
type Held struct {
	Server dialect.Server
	Locks  []Lock
}

// Others returns what Check compares a lock with. A lock that is not among them may be one of them in another spelling.
func Others(ctx context.Context, db *sql.DB, exclusive bool) []Held {
	return others(ctx, db, nil, exclusive)
}

// OthersIn returns what CheckIn compares a lock with.
func OthersIn(ctx context.Context, tx nogap.Tx, exclusive bool) []Held {
	if own := of(ctx, tx); own != nil {
		return others(ctx, own.db, own, exclusive)
	}
	return nil
}

func others(ctx context.Context, db *sql.DB, own *Transaction, exclusive bool) (all []Held) {
	for t := around(ctx); t != nil; t = t.outer {
		if t == own || t.db != db {
			continue
		}
		if locks := t.excluding(exclusive); len(locks) > 0 {
			all = append(all, Held{t.server, locks})
		}
	}
	return all
}

// excluding returns the locks of the transaction that exclude a call.
func (t *Transaction) excluding(exclusive bool) (locks []Lock) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return nil
	}
	if exclusive || t.exclusive {
		locks = append(locks, t.locks...)
	}
	for lock, excludes := range t.added {
		if exclusive || excludes {
			locks = append(locks, lock)
		}
	}
	return locks
}
