package txn

import (
	"context"
	"database/sql"
)

// ReadAll runs a query in a transaction, and calls row for each of its rows. The error of row ends it.
func ReadAll(ctx context.Context, tx *sql.Tx, query string, args []any, row func(scan func(dest ...any) error) error) error {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return JoinContext(ctx, explainBadConn(err))
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return JoinContext(ctx, explainBadConn(rows.Err()))
}
