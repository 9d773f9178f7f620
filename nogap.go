package nogap

import (
	"errors"
	"fmt"
)

// Dialect is the SQL dialect that a database speaks. Servers that speak another's wire and SQL count as that one:
// CockroachDB and YugabyteDB are Postgres, TiDB is MySQL.
//
// The server is asked which one it is at the first use, once per *sql.DB. WithDialect, an option of every package that
// speaks SQL, says it instead. The zero Dialect is none of them.
type Dialect int

// The dialects.
const (
	Postgres Dialect = iota + 1
	MySQL
	MariaDB
	SQLite
)

// String returns the name of the dialect: "PostgreSQL", "MySQL", "MariaDB" or "SQLite".
func (d Dialect) String() string {
	switch d {
	case Postgres:
		return "PostgreSQL"
	case MySQL:
		return "MySQL"
	case MariaDB:
		return "MariaDB"
	case SQLite:
		return "SQLite"
	}
	return fmt.Sprintf("Dialect(%d)", int(d))
}

// ErrOutcomeUnknown says that a write may or may not have been applied: the connection was lost, or given up, after
// the statement or the COMMIT had been handed to the driver and before its answer came back. nogap never repeats such
// a write. It is wrapped together with its cause, so test for it with errors.Is; what to do about it is the caller's
// to decide, usually to read the row again.
//
// A write that failed with any other error has not been applied.
var ErrOutcomeUnknown = errors.New("nogap: outcome unknown, the write may have been applied")
