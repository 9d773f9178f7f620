// Package server asks a database what the explorer has to know: which sessions wait for a lock, and what stands in the tables. It
// asks over a connection of its own, whose statements are no steps.
//
// Each kind of server is one file.
package server

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/txn"
)

// Server is a database that is asked. Its methods may be called by several goroutines; they take turns.
type Server struct {
	dialect.Server
	db   *sql.DB
	kind kind
	// catalog are the tables as they were last listed, by their names.
	catalog map[string]*listed
	// advances counts the calls of AdvanceSequences.
	advances int64
}

// kind is what differs between the servers.
type kind interface {
	// check returns an error if sessions of the connector can't be told apart, or have each a database of their own.
	check(ctx context.Context, db, other *sql.DB) error
	// blocked says whether the session with a number waits for a lock.
	blocked(ctx context.Context, db *sql.DB, id int64) (Waiting, error)
	// tables selects the schema and the name of each table, and whether it is found by its name alone.
	tables() string
	// columns selects of the columns of a table, in their order: name, type, place in the primary key (0 if none), whether the
	// server counts its values up, and whether its default is made by a function. The name of the table is written quoted and
	// as text.
	columns(schema, name string) string
	// advance moves the sequences of a table on by so many values.
	advance(ctx context.Context, db *sql.DB, t *listed, by int64) error
	quote() string
}

// kinds are the servers that can be explored.
var kinds = map[dialect.Product]kind{
	dialect.PostgreSQL: postgres{},
	dialect.MySQL:      mysql{},
	dialect.MariaDB:    mariadb{},
	dialect.SQLite:     sqlite{},
}

// Open connects to the database of a connector, which must not be wrapped by package gate. To close the Server does not close the
// connector.
//
// It returns an error for what cannot be explored: a pooler that hands out connections for single transactions, an SQLite database
// in memory that each connection has for itself, and other servers than PostgreSQL, MySQL, MariaDB and SQLite.
func Open(ctx context.Context, c driver.Connector) (_ *Server, err error) {
	db := sql.OpenDB(borrowed{c})
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	db.SetMaxOpenConns(1) // a database in memory lives as long as its connections
	d, err := dialect.Ask(ctx, txn.Pool{DB: db})
	var unknown *dialect.UnknownServerError
	if errors.As(err, &unknown) { // its advice is an option that a Scenario does not have
		return nil, fmt.Errorf("the server calls itself %q and can't be explored: only PostgreSQL, MySQL, MariaDB and SQLite can", unknown.Reply)
	}
	if err != nil {
		return nil, err
	}
	k := kinds[d.Product]
	if k == nil {
		return nil, fmt.Errorf("%v can't be explored: only PostgreSQL, MySQL, MariaDB and SQLite can", d.Product)
	}
	other := sql.OpenDB(borrowed{c})
	defer other.Close()
	if err := k.check(ctx, db, other); err != nil {
		return nil, err
	}
	return &Server{Server: d, db: db, kind: k}, nil
}

// borrowed is a connector that somebody else closes.
type borrowed struct{ driver.Connector }

// Close closes the connection.
func (s *Server) Close() error { return s.db.Close() }

// Answer is what a server says to a question.
type Answer int

// The answers. Unknown is that of a server that does not tell, for lack of rights mostly.
const (
	Unknown Answer = iota
	No
	Yes
)

// Waiting says whether a session waits for a lock.
type Waiting struct {
	Answer Answer
	// By are the sessions that it waits for, as far as the server tells: those that hold the lock, or that are before it in the
	// queue for it.
	By []int64
}

// Blocked asks whether a session waits for a lock. It is seen about half a millisecond after the statement was sent.
//
// On SQLite nobody waits: a statement that can't have the lock fails, see gate.Busy.
func (s *Server) Blocked(ctx context.Context, session *gate.Session) (Waiting, error) {
	w, err := s.kind.blocked(ctx, s.db, session.ID())
	if err != nil {
		return Waiting{}, fmt.Errorf("asking whether session %d waits for a lock: %w", session.ID(), err)
	}
	return w, nil
}

// values runs a query and returns the values of its only column.
func values[T any](ctx context.Context, db *sql.DB, query string, args ...any) (all []T, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, errors.Join(rows.Err(), rows.Close())
}
