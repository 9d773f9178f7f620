package main

import (
	"context"
	"database/sql"
)

// unsafeSeller reads the stock, decides, and writes back what it computed. Between the two statements other requests
// read the same stock: they all sell the same piece, and the last to write undoes what the others wrote.
type unsafeSeller struct {
	db    *sql.DB
	read  string
	write string
}

func openUnsafe(s shop) (seller, error) { return newUnsafeSeller(s), nil }

func newUnsafeSeller(s shop) unsafeSeller {
	return unsafeSeller{
		db:    s.db,
		read:  s.rebind("SELECT stock FROM " + s.table + " WHERE id = ?"),
		write: s.rebind("UPDATE " + s.table + " SET stock = ? WHERE id = ?"),
	}
}

func (u unsafeSeller) purchase(
	ctx context.Context, item int64, check func(context.Context) error,
) (left int64, err error) {
	var stock int64
	if err := u.db.QueryRowContext(ctx, u.read, item).Scan(&stock); err != nil {
		return 0, err
	}
	if stock < 1 {
		return 0, errSoldOut
	}
	if err := check(ctx); err != nil {
		return 0, err
	}
	if _, err := u.db.ExecContext(ctx, u.write, stock-1, item); err != nil {
		return 0, err
	}
	return stock - 1, nil
}
