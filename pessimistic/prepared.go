package pessimistic

import (
	"context"
	"database/sql"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// prepare prepares a query that will be run times times, if the driver would have it prepared each time: that is a round
// trip for each but the first. Until done is called the session's transaction uses what is prepared.
//
// Galera can't lose the abort of the transaction in it, since there no driver that prepares is let in: see txn.CheckAborts.
func (s *session) prepare(ctx context.Context, query string, times int) (done func(), err error) {
	tx, prepares := s.tx.(preparer)
	if prepares && times > 1 && !s.prefixes() {
		prepares, err = txn.DriverPrepares(ctx, txn.DBOf(s.tx), s.tx, s.server)
	} else {
		prepares = false
	}
	if err != nil || !prepares {
		return func() {}, err
	}
	stmt, err := tx.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	before := s.tx
	s.tx = prepared{before, query, stmt}
	return func() {
		s.tx = before
		stmt.Close()
	}, nil
}

// prefixes reports whether something different stands before each query.
func (s *session) prefixes() bool {
	return s.timeout > 0 && s.server.LockLimit == dialect.StatementLimit
}

type preparer interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}

// prepared is a transaction in which one query is prepared.
type prepared struct {
	nogap.Tx
	query string
	stmt  *sql.Stmt
}

func (p prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if query == p.query {
		return p.stmt.QueryContext(ctx, args...)
	}
	return p.Tx.QueryContext(ctx, query, args...)
}
