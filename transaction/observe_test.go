package transaction_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/transaction"
)

type seen struct{ ended []nogap.Result }

func (s *seen) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	if op != (nogap.Operation{Name: "transaction.Run"}) {
		panic(op)
	}
	return ctx, func(r nogap.Result) { s.ended = append(s.ended, r) }
}

func TestObserver(t *testing.T) {
	left := 2
	s := server(func(c fakedb.Call) error {
		if c.Kind == fakedb.Exec && left > 0 {
			left--
			return deadlock
		}
		return nil
	})
	db := s.DB()
	defer db.Close()
	var o seen
	defer nogap.Observe(db, &o)()
	require.NoError(t, transaction.Run(t.Context(), db, write, asPostgres))
	err := transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error { return sql.ErrNoRows }, asPostgres)
	require.ErrorIs(t, err, sql.ErrNoRows)
	require.Len(t, o.ended, 2)
	require.Equal(t, nogap.OutcomeOK, o.ended[0].Outcome)
	require.Equal(t, 3, o.ended[0].Attempts)
	require.Equal(t, nogap.OutcomeError, o.ended[1].Outcome)
}
