package pessimistic

import (
	"context"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/txn"
)

// serverOfTx returns the server of a transaction: what the caller says that it is, what it is known to be if the
// transaction is that of a callback around the call, else what it says itself.
func serverOfTx(ctx context.Context, tx nogap.Tx, told nogap.Dialect) (dialect.Server, error) {
	if told != 0 {
		return dialect.Assume(told)
	}
	if _, s, ok := holding.Known(ctx, tx); ok {
		return s, nil
	}
	return dialect.Ask(ctx, txn.In(tx))
}

// clause returns the end of the SELECT that locks rows, or says which option the server does not have.
func (c *config) clause(s dialect.Server) (string, error) {
	clause, err := s.LockClause(c.mode, dialect.Wait)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.modeName, err)
	}
	if c.noWait {
		if clause, err = s.LockClause(c.mode, dialect.NoWait); err != nil {
			return "", fmt.Errorf("NoWait: %w", err)
		}
	}
	return clause, nil
}
