// Package holding knows, in the context of a callback, what the transactions around that callback have locked. A call
// that wants the same lock over another connection would wait for itself, for ever: it is refused instead.
package holding

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"sync"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

// Lock names what is locked in one database: a row by its table and key, a named lock by its key alone.
type Lock struct{ Table, Key string }

// ErrHeld is returned for a call that would wait for the transaction in whose callback it is made.
var ErrHeld = errors.New("it is locked by the transaction in whose callback this call is made, and the call would wait for " +
	"itself; use the callback's tx, with WithTx(tx) or LockRow")

// Transaction is a transaction of nogap's around a callback, and the context of the callback.
type Transaction struct {
	context.Context
	outer     *Transaction
	db        *sql.DB
	tx        *sql.Tx
	server    dialect.Server
	locks     []Lock // that it began with
	exclusive bool   // they exclude readers that lock, too
	reads     bool   // it has not begun with the lock of a whole database

	mu    sync.Mutex    // the callback may start goroutines
	added map[Lock]bool // true: it excludes readers that lock, too
	ended bool
}

type key struct{}

// Value returns the Transaction itself to this package, and else what the context of the call has.
func (t *Transaction) Value(k any) any {
	if k == (key{}) {
		return t
	}
	return t.Context.Value(k)
}

// Begin returns the context for a callback that runs in tx, with the locks that it has. exclusive says that the locks
// exclude readers that lock, too. end must be called when the callback has returned.
func Begin(ctx context.Context, db *sql.DB, tx *sql.Tx, s dialect.Server, exclusive bool, locks []Lock) (_ context.Context, end func()) {
	t := &Transaction{Context: ctx, outer: around(ctx), db: db, tx: tx, server: s, locks: locks, exclusive: exclusive}
	return t, t.end
}

// BeginReading is Begin for a transaction that reads only: where there is one lock for the whole database, it does not hold that,
// unless it writes nevertheless.
func BeginReading(ctx context.Context, db *sql.DB, tx *sql.Tx, s dialect.Server, exclusive bool, locks []Lock) (_ context.Context, end func()) {
	t := &Transaction{Context: ctx, outer: around(ctx), db: db, tx: tx, server: s, locks: locks, exclusive: exclusive, reads: true}
	return t, t.end
}

// end ends what is known, since a context may live on in a goroutine that the callback has started.
func (t *Transaction) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
}

func around(ctx context.Context) *Transaction {
	t, _ := ctx.Value(key{}).(*Transaction)
	return t
}

// Within reports whether ctx comes from a callback, so that there is something to check.
func Within(ctx context.Context) bool { return around(ctx) != nil }

// In reports whether ctx comes from a callback whose transaction is one of db.
func In(ctx context.Context, db *sql.DB) bool {
	for t := around(ctx); t != nil; t = t.outer {
		if t.db == db && t.open() {
			return true
		}
	}
	return false
}

func (t *Transaction) open() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.ended
}

// Check returns ErrHeld if a transaction around the call holds a lock that the call wants over another connection of db.
// Without row locks it is held whatever it is.
func Check(ctx context.Context, db *sql.DB, exclusive bool, wanted Lock) error {
	return check(ctx, db, nil, exclusive, wanted)
}

// CheckIn is Check for a call in a transaction: one callback in another has two, and the lock may be held by the other.
// A transaction that is not known as that of a callback may be one in a wrapper, so nothing is said of it.
func CheckIn(ctx context.Context, tx nogap.Tx, exclusive bool, wanted Lock) error {
	if own := of(ctx, tx); own != nil {
		return check(ctx, own.db, own, exclusive, wanted)
	}
	return nil
}

func check(ctx context.Context, db *sql.DB, own *Transaction, exclusive bool, wanted Lock) error {
	for t := around(ctx); t != nil; t = t.outer {
		if t != own && t.db == db && t.holds(exclusive, wanted) {
			return ErrHeld
		}
	}
	return nil
}

func (t *Transaction) holds(exclusive bool, wanted Lock) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	if t.holdsDatabase() || (exclusive || t.exclusive) && slices.Contains(t.locks, wanted) {
		return true
	}
	addedExclusively, added := t.added[wanted]
	return added && (exclusive || addedExclusively)
}

// holdsDatabase reports whether the transaction holds the lock of the whole database.
func (t *Transaction) holdsDatabase() bool {
	return !t.server.RowLocks && (!t.reads || len(t.added) > 0)
}

// Add notes that tx has locked one more row, by a write for example, if tx is that of a callback around the call.
// exclusive says that the lock excludes readers that lock, too.
func Add(ctx context.Context, tx nogap.Tx, exclusive bool, lock Lock) {
	t := of(ctx, tx)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.added == nil {
		t.added = make(map[Lock]bool)
	}
	t.added[lock] = exclusive || t.added[lock]
}

// Known returns the database and the server of tx, if tx is that of a callback around the call.
func Known(ctx context.Context, tx nogap.Tx) (db *sql.DB, s dialect.Server, ok bool) {
	if t := of(ctx, tx); t != nil {
		return t.db, t.server, true
	}
	return nil, dialect.Server{}, false
}

// of returns the transaction around the call whose tx is this one.
func of(ctx context.Context, tx nogap.Tx) *Transaction {
	for t := around(ctx); t != nil; t = t.outer {
		if same(t.tx, tx) {
			return t
		}
	}
	return nil
}

func same(ours *sql.Tx, tx nogap.Tx) bool {
	switch tx := tx.(type) {
	case *sql.Tx:
		return tx == ours
	case *sqlx.Tx:
		return tx.Tx == ours
	}
	return false
}
