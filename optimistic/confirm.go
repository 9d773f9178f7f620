package optimistic

import (
	"context"
	"errors"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/txn"
)

// confirmTimeout bounds the question after a lost reply. It is asked even if the caller's context has ended.
const confirmTimeout = time.Second

// confirm finds out whether an update whose reply was lost has been applied, if it can: then it returns nil, else err.
// Only a token tells, since any other version may be somebody else's. And only its presence does: a server that still
// shows the old version may yet carry out what it has been sent, and one that shows a third may have carried it out
// before.
func (w *versionedWrite) confirm(ctx context.Context, err error) error {
	t := w.table
	if t.kind != tokenVersion || !errors.Is(err, nogap.ErrOutcomeUnknown) || errors.Is(err, nogap.ErrNotUnique) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirmTimeout)
	defer cancel()
	there, failed := w.currentVersion(ctx, txn.Pool{DB: t.DB()}, w.sql.version)
	if failed != nil || !t.kind.equal(there.Interface(), w.next.Interface()) {
		return err
	}
	w.next = there
	return nil
}
