package gate

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strconv"
	"sync/atomic"

	"github.com/nogap-go/nogap/internal/sqlerr"
)

// Session is one connection to the database.
type Session struct {
	conn   driver.Conn
	id     int64
	sqlite bool
	inTx   atomic.Bool
}

// ID returns the number by which the server knows the session: pg_backend_pid() or CONNECTION_ID(). It is 0 on SQLite, and where
// the server has neither.
func (s *Session) ID() int64 { return s.id }

// InTx reports whether the session is in a transaction, as far as its statements tell. A transaction that the server has
// undone by itself lasts until the client's ROLLBACK.
func (s *Session) InTx() bool { return s.inTx.Load() }

// Raw returns the driver's own connection, which must not be used while a statement is under way.
func (s *Session) Raw() driver.Conn { return s.conn }

// questions ask a server for the number of the session. A server refuses those of other servers before it does anything.
var questions = [...]string{
	"SELECT pg_backend_pid()",
	"SELECT CONNECTION_ID()",
	sqliteQuestion,
}

const (
	sqliteQuestion = "SELECT sqlite_version()"
	// noWaiting makes SQLite say at once that another connection holds the lock. Waiting is up to the Controller.
	noWaiting = "PRAGMA busy_timeout = 0"
)

// newSession asks for the number while the connection is idle: as soon as a statement is blocked, it can't be asked any more.
func newSession(ctx context.Context, c driver.Conn) (*Session, error) {
	s := &Session{conn: c}
	for _, question := range questions {
		answer, err := readValue(ctx, c, question)
		if err != nil {
			if sqlerr.Of(err) == 0 {
				return nil, err // not a refusal of the server
			}
			continue
		}
		if question != sqliteQuestion {
			s.id, err = integer(answer)
			return s, err
		}
		s.sqlite = true
		_, err = readValue(ctx, c, noWaiting)
		return s, err
	}
	return s, nil
}

// readValue returns the first value of a query without arguments, or nil if it has no rows.
func readValue(ctx context.Context, c driver.Conn, query string) (driver.Value, error) {
	rows, err := queryAll(ctx, c, query)
	if err != nil {
		return nil, err
	}
	set := rows.sets[0]
	if set.err != nil || len(set.rows) == 0 {
		return nil, set.err
	}
	return set.rows[0][0], nil
}

// queryAll runs a query without arguments on a driver's connection, as database/sql does.
func queryAll(ctx context.Context, c driver.Conn, query string) (*replay, error) {
	rows, err := connQuery(ctx, c, query, nil)
	if err != driver.ErrSkip {
		if err != nil {
			return nil, err
		}
		return drain(rows), nil
	}
	stmt, err := connPrepare(ctx, c, query)
	if err != nil {
		return nil, err
	}
	defer stmt.Close()
	rows, err = stmtQuery(ctx, stmt, nil)
	if err != nil {
		return nil, err
	}
	return drain(rows), nil
}

func integer(v driver.Value) (int64, error) {
	switch v := v.(type) {
	case int64:
		return v, nil
	case uint64:
		return int64(v), nil
	case []byte:
		return strconv.ParseInt(string(v), 10, 64)
	case string:
		return strconv.ParseInt(v, 10, 64)
	}
	return 0, fmt.Errorf("racetest: the server's number of a session is a %T", v)
}
