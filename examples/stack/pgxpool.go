package stack

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// openPgxpool returns both faces of one pool. Close db first, then pool, which waits for the connections of db.
func openPgxpool(ctx context.Context, dsn string) (*pgxpool.Pool, *sql.DB, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, nil, err
	}
	db := stdlib.OpenDBFromPool(pool) // for nogap; pool stays yours
	return pool, db, nil
}
