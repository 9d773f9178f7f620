package dialect

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"
)

// sessionEnd is how the session of a transaction whose connection was lost can be told from others, and ended.
type sessionEnd int

const (
	// byTransaction: the server says which transaction a session is in.
	byTransaction sessionEnd = iota + 1
	// byIdleness: it says since when a session has nothing to do. Its number is that of another one after a restart.
	byIdleness
)

// Lost is a session whose connection was lost at COMMIT. The zero Lost is one of which nothing is known.
type Lost struct {
	ID          int64
	Transaction string    // see Capabilities.ReturnsSession
	Begun       time.Time // when its transaction inserted a row
	At          time.Time // when COMMIT was sent
}

// EndSession ends a session that still has its transaction open and waits for the client that has lost it: until then its
// locks are held, for hours if the network has swallowed the connection. One that carries out its COMMIT, or that may be
// somebody else's, is left alone. r is another session. Without the right to do it, nothing is done.
func (s Server) EndSession(ctx context.Context, r Reader, l Lost) error {
	if l.ID == 0 {
		return nil
	}
	switch s.ends {
	case byTransaction:
		var ended bool
		return ignoreNoRow(r.Read(ctx, endByTransaction, []any{l.ID, l.Transaction}, &ended))
	case byIdleness:
		return ignoreNoRow(s.endIdle(ctx, r, l))
	}
	return nil
}

// A transaction is one of this role's own, or one that it may not see.
const endByTransaction = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity " +
	"WHERE pid = $1 AND CAST(backend_xid AS text) = $2 AND state LIKE 'idle in transaction%'"

// endIdle ends a session of this user's that has been idle since the connection was lost, on a server that was up before.
func (s Server) endIdle(ctx context.Context, r Reader, l Lost) error {
	var name string
	var uptime int64
	if err := r.Read(ctx, "SHOW GLOBAL STATUS LIKE 'Uptime'", nil, &name, &uptime); err != nil {
		return err
	}
	const second = 1 // of what the server rounds
	if seconds(l.Begun)+second >= uptime {
		return nil
	}
	q := s.Compile("SELECT ID FROM information_schema.PROCESSLIST WHERE ID = {1} AND USER = SUBSTRING_INDEX(USER(), '@', 1) " +
		"AND COMMAND = 'Sleep' AND TIME BETWEEN {2} AND {3}")
	var id int64
	if err := r.Read(ctx, q.Text, q.Args([]any{l.ID, seconds(l.At) - second, seconds(l.Begun) + 2*second}), &id); err != nil {
		return err
	}
	return r.Read(ctx, "KILL "+strconv.FormatInt(id, 10), nil)
}

func seconds(since time.Time) int64 { return int64(time.Since(since) / time.Second) }

func ignoreNoRow(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}
