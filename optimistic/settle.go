package optimistic

import (
	"context"
	"errors"
	"time"

	"github.com/nogap-go/nogap"
)

// settleTime bounds what is asked after a lost reply, even if the caller's context has ended: the answer is worth that
// much.
const settleTime = time.Second

// settle finds out what came of a swap whose reply was lost, if it can. Only a token tells: any other version may be
// somebody else's. And only its presence does: a server that still shows the old version may yet carry out what it has
// been sent, and one that shows a third may have carried it out before.
func (c *change) settle(ctx context.Context, err error) error {
	if c.table.kind != token || !errors.Is(err, nogap.ErrOutcomeUnknown) || errors.Is(err, errNotUnique) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	there, failed := c.peek(ctx, pool{c.table.db}, c.table.prepared.Load().peek)
	if failed != nil {
		return err
	}
	written, _ := c.table.kind.read(c.next.Interface())
	found, _ := c.table.kind.read(there.Interface())
	if !same(written, found) {
		return err
	}
	c.next = there
	return nil
}
