package pessimistic

import (
	"context"
	"time"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/lockwait"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// waitFor runs a statement that takes a lock, so that it waits no longer than what is left of the timeout. query is given
// what to put in front of its statement.
func (s *session) waitFor(ctx context.Context, l *lock, table dialect.Ident, query func(prefix string) error) error {
	if !s.server.RowLocks {
		if err := s.writeLock(ctx, table); err != nil {
			return s.explain(l, err)
		}
		return s.explain(l, query(""))
	}
	var bound lockwait.Bound
	if s.timeout > 0 {
		left, err := s.left()
		if err == nil {
			bound, err = lockwait.Limit(ctx, s.tx, s.server, left, &s.settings)
		}
		if err != nil {
			return s.explain(l, err)
		}
	}
	start := time.Now()
	err := query(bound.Prefix)
	s.waited.inServer(start)
	if s.server.LocalSettings && sqlerr.Of(err).Has(sqlerr.Server) {
		s.settings = nil // they belong to the transaction, which has failed and accepts no statement
	}
	return s.explain(l, bound.Explain(err))
}
