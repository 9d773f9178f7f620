package transaction_test

import (
	"context"
	"errors"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/transaction"
)

var (
	errBoom    = errors.New("boom")
	asPostgres = transaction.WithDialect(nogap.Postgres)
	asSQLite   = transaction.WithDialect(nogap.SQLite)
)

// stateError is the error of a PostgreSQL server.
type stateError string

func (e stateError) Error() string    { return "state " + string(e) }
func (e stateError) SQLState() string { return string(e) }

const deadlock, serialization, lockNotAvailable = stateError("40P01"), stateError("40001"), stateError("55P03")

// server does what it is told, and fails where fail returns an error.
func server(fail func(c fakedb.Call) error) *fakedb.Server {
	return fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if fail != nil {
			if err := fail(c); err != nil {
				return fakedb.Reply{}, err
			}
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}

func write(ctx context.Context, tx *sqlx.Tx) error {
	_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE items SET stock = ?"), 1)
	return err
}
