package lockwait

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// undoTimeout bounds how long putting settings back or releasing a lock may take.
const undoTimeout = 2 * time.Second

// Querier is a transaction or a connection.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Undos put a session of the server back as it was.
type Undos []func(context.Context, Querier) error

// Exec adds a statement.
func (u *Undos) Exec(query string, args ...any) {
	*u = append(*u, func(ctx context.Context, q Querier) error {
		_, err := q.ExecContext(ctx, query, args...)
		return err
	})
}

// Undo does what is still to be done, last first, and keeps what failed. It goes on after the end of ctx, for a while.
func (u *Undos) Undo(ctx context.Context, q Querier) error {
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
