package txn

import (
	"context"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

const (
	setSavepoint     = "SAVEPOINT nogap"
	releaseSavepoint = "RELEASE SAVEPOINT nogap"
)

// Savepoint runs do with r, which is in a transaction, and undoes what do has done there if it, or what follows, fails:
// all or nothing of it is part of the transaction.
func Savepoint(ctx context.Context, r Runner, do func(Runner) error) error {
	return SavepointNamed(ctx, r, "nogap", do)
}

// SavepointNamed is Savepoint for a do that may set savepoints itself: MySQL forgets one when another of its name is set. A
// panic of do, or runtime.Goexit, undoes what do has done too.
func SavepointNamed(ctx context.Context, r Runner, name string, do func(Runner) error) error {
	if _, err := r.Exec(ctx, "SAVEPOINT "+name); err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned {
			_ = undoTo(ctx, r, name)
		}
	}()
	err := do(r)
	returned = true
	if err == nil {
		_, err = r.Exec(ctx, "RELEASE SAVEPOINT "+name)
	}
	if err == nil {
		return nil
	}
	if failed := undoTo(ctx, r, name); failed != nil {
		// After a deadlock MySQL has neither savepoint nor transaction left.
		return fmt.Errorf("%w (roll back: the savepoint could not be restored: %w)", err, failed)
	}
	return err
}

// undoTo undoes what was done since the savepoint, and releases it.
func undoTo(ctx context.Context, r Runner, name string) error {
	ctx, cancel := beyond(ctx)
	defer cancel()
	_, err := r.Exec(ctx, "ROLLBACK TO SAVEPOINT "+name)
	if err == nil {
		_, err = r.Exec(ctx, "RELEASE SAVEPOINT "+name)
	}
	return err
}

// ProveTx returns an error if the statements of r, which In made of tx, are not in a transaction: locks would be lost at
// once, and half of several statements could stand. It costs two round trips, but nothing for the types whose name says
// it.
func ProveTx(ctx context.Context, tx nogap.Tx, s dialect.Server) error {
	if isTx(unwrap(tx)) {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.SavepointBegins {
		return proveByBegin(ctx, tx)
	}
	r := In(tx)
	_, err := r.Exec(ctx, setSavepoint)
	if err == nil {
		ctx, cancel := beyond(ctx)
		defer cancel()
		_, err = r.Exec(ctx, releaseSavepoint)
	}
	if ctx.Err() != nil || !definite(err) || sqlerr.Of(err).Has(sqlerr.Aborted) {
		return err // tells nothing about the transaction, or that there is one, which has failed before
	}
	return fmt.Errorf("%w: a savepoint is refused: %w", noTx(tx), err)
}

// proveByBegin relies on BEGIN being refused inside a transaction, where it harms nothing. Neither statement waits for
// anything, and the end of the context must not keep a BEGIN that was carried out from being undone.
func proveByBegin(ctx context.Context, tx nogap.Tx) error {
	ctx, cancel := beyond(ctx)
	defer cancel()
	r := In(tx)
	if _, err := r.Exec(ctx, "BEGIN"); err != nil {
		if sqlerr.Of(err) == sqlerr.Server {
			return nil // "cannot start a transaction within a transaction"
		}
		return err
	}
	_, err := r.Exec(ctx, rollBack)
	return errors.Join(noTx(tx), err)
}

// beyond returns a context for what must be undone although ctx may have ended.
func beyond(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
}

func noTx(tx nogap.Tx) error {
	return fmt.Errorf("%T is in no transaction: begin one, and pass that", tx)
}
