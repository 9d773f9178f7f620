// Package gate wraps a database/sql driver so that a Controller decides when each statement runs.
//
// One connector is wrapped for each client of a scenario, and each client has its own *sql.DB on it. So the Controller knows
// whose statement it is without looking at contexts.
//
// # Steps
//
// A step is one statement: BeginTx, Exec, Query with all its rows, Commit, Rollback. It makes no difference whether it is prepared:
// the execution is the step, and PREPARE is not. The Controller is asked before the step is sent (Before), and is told what came of
// it before the caller is (After). The wrapper itself asks a new connection for its number, and nothing else.
//
// # What is as it was
//
// The caller gets the same values, column types and errors as from the driver itself, and DB.Driver is the driver. The rows of a
// query are read to their end before the caller sees the first. So what follows from rows that are still open is not seen: that a
// driver refuses a second statement on their connection, or that the server has not run to the end.
//
// sql.Conn.Raw gives the wrapper, because a driver's own type can't be had without its methods, which would send statements that
// nobody has let through. The wrapper has the method Raw() driver.Conn, as otelsql's has, which returns the driver's connection. A
// statement that is sent on that one is no step: it runs at once.
//
// From Go 1.27 on a driver may store a column in the program's variable itself (driver.RowsColumnScanner). The wrapper's rows don't
// offer that. What database/sql can't convert by itself, such as a PostgreSQL array into a []string, needs a sql.Scanner.
package gate

import (
	"context"
	"database/sql/driver"
	"fmt"
)

// Kind is what a statement does to its transaction.
type Kind int

// The kinds of statements. Exec and Query say which method the caller used; the others are also recognised in the text of a
// statement, such as START TRANSACTION.
const (
	Begin Kind = iota + 1
	Exec
	Query
	Commit
	Rollback
)

// String returns the name of the kind.
func (k Kind) String() string {
	if k < Begin || k > Rollback {
		return fmt.Sprintf("Kind(%d)", int(k))
	}
	return [...]string{"Begin", "Exec", "Query", "Commit", "Rollback"}[k-Begin]
}

// Statement is one step of a client.
type Statement struct {
	Kind Kind
	// SQL is the text; empty if a method of database/sql stands for it, such as Commit.
	SQL     string
	Args    []driver.NamedValue
	Session *Session
	// Isolation and ReadOnly are those of BeginTx.
	Isolation driver.IsolationLevel
	ReadOnly  bool
	// InTx reports whether the session was in a transaction before the statement.
	InTx bool
}

// Result is what came of a statement.
type Result struct {
	// Err is the error of the statement, or of reading its rows.
	Err error
	// Columns and Rows are those of a query's first result set. They are the caller's too: they must not be changed.
	Columns []string
	Rows    [][]driver.Value
	// Affected and LastInsertID are 0 where the driver does not tell them.
	Affected, LastInsertID int64
}

// Controller decides when statements run. Its methods are called by the goroutine that called database/sql, for one Session by one
// at a time. Both have to return soon after ctx ends, since database/sql waits for them.
type Controller interface {
	// Before returns when the statement may be sent. An error is given to the caller, and the statement is not sent. If it was
	// a Commit or a Rollback, the transaction is then rolled back without asking.
	//
	// Before and After of Commit and Rollback are given the context of BeginTx without its end.
	Before(ctx context.Context, s *Statement) error
	// After returns when the caller may see the result. If again is true the caller does not: the statement is sent once
	// more, and After is called with the new result. That is for a statement that has done nothing, see Busy. A Begin or a
	// Query that is run again has left nothing of its first try.
	After(ctx context.Context, s *Statement, r Result) (again bool)
}
