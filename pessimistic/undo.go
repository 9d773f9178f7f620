package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// undoTimeout bounds how long putting settings back or releasing a lock may take.
const undoTimeout = 2 * time.Second

// querier is a transaction or a connection.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// undos put a session of the server back as it was.
type undos []func(context.Context, querier) error

func (u *undos) exec(query string, args ...any) {
	*u = append(*u, func(ctx context.Context, q querier) error {
		_, err := q.ExecContext(ctx, query, args...)
		return err
	})
}

// undo does what is still to be done, last first, and keeps what failed. It goes on after the end of ctx, for a while.
func (u *undos) undo(ctx context.Context, q querier) error {
	if len(*u) == 0 {
		return nil // without a timer, which costs about as much as half a round trip
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	for len(*u) > 0 {
		last := len(*u) - 1
		if err := (*u)[last](ctx, q); err != nil {
			return fmt.Errorf("restoring the session: %w", err)
		}
		*u = (*u)[:last]
	}
	return nil
}
