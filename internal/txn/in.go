package txn

import (
	"context"
	"database/sql"
)

// In returns the Runner whose statements are part of tx. Nothing is retried there, since only the owner of a
// transaction may run it again, and no outcome is unknown before its COMMIT.
func In(tx *sql.Tx) Runner { return inTx{tx} }

type inTx struct{ *sql.Tx }

func (t inTx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	res, err := t.ExecContext(ctx, query, args...)
	return res, JoinContext(ctx, err)
}

func (t inTx) QueryRow(ctx context.Context, query string, args []any, dest ...any) error {
	return ReadRow(ctx, t.Tx, query, args, dest...)
}

func (t inTx) Read(ctx context.Context, query string, args []any, dest ...any) error {
	return t.QueryRow(ctx, query, args, dest...)
}
