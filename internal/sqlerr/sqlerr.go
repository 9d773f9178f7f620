// Package sqlerr tells what an error of a database driver means, without importing any driver.
//
// PostgreSQL's drivers have errors with a method SQLState() string, go-sql-driver's have a field Number, and the
// SQLite drivers each have their own way to give a result code. All are found through any wrapping, also that of
// errors.Join.
package sqlerr

import (
	"reflect"
	"strings"
)

// Meaning is what is known of an error; the flags combine.
type Meaning uint16

const (
	// Server: the server, or the SQLite library, answered with this error.
	Server Meaning = 1 << iota
	// Retry: the transaction was rolled back, or must be, and running it again from its start may succeed.
	Retry
	// LockBusy: NOWAIT found the row locked, or waiting for a lock took longer than allowed. Which of the two it was
	// only the statement tells: the servers use one code for both.
	LockBusy
	// Ambiguous: the server may have applied the statement or the COMMIT that it answered with this.
	Ambiguous
	// Unique: a unique index or a primary key refused the row.
	Unique
	// Check: a CHECK constraint refused the row.
	Check
	// OutOfRange: the value does not fit the column or the arithmetic.
	OutOfRange
	// Canceled: the statement was cancelled on request.
	Canceled
	// Aborted: the transaction had failed before and accepts nothing but ROLLBACK.
	Aborted
	// NoArbiter: no unique index matches the columns of ON CONFLICT.
	NoArbiter
	// NotReady: a Galera node that is not part of a cluster refuses to serve.
	NotReady
)

// Has reports whether all the flags are set.
func (m Meaning) Has(flags Meaning) bool { return m&flags == flags }

// https://www.postgresql.org/docs/current/errcodes-appendix.html
// https://www.cockroachlabs.com/docs/stable/common-errors, CR000 was CockroachDB's own code for 40001 before v2.
var sqlStates = map[string]Meaning{
	"40001": Retry,
	"40P01": Retry,
	"CR000": Retry,
	"55P03": LockBusy,
	"40003": Ambiguous, // statement_completion_unknown
	"57P01": Ambiguous, // admin_shutdown
	"57P02": Ambiguous, // crash_shutdown
	"57P03": Ambiguous, // cannot_connect_now
	"23505": Unique,
	"23514": Check,
	"22003": OutOfRange,
	"57014": Canceled,
	"25P02": Aborted,
	"42P10": NoArbiter,
}

// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
// https://mariadb.com/docs/server/reference/error-codes, https://docs.pingcap.com/tidb/stable/error-codes
var numbers = map[uint16]Meaning{
	1213: Retry,            // deadlock; on Galera also a write set that lost its certification
	1020: Retry,            // MariaDB with innodb_snapshot_isolation: the row changed since the snapshot
	3101: Retry,            // MySQL group replication: rolled back by a plugin
	1205: Retry | LockBusy, // undoes the statement alone: the transaction must be rolled back before it is rerun
	3572: LockBusy,         // NOWAIT
	1062: Unique,
	3819: Check, // MySQL
	4025: Check, // MariaDB
	1264: OutOfRange,
	1690: OutOfRange,
	1317: Canceled, // KILL QUERY
	3024: Canceled, // MySQL max_execution_time
	1969: Canceled, // MariaDB max_statement_time
	1047: NotReady,
	1053: Ambiguous, // server shutdown in progress
	1927: Ambiguous, // MariaDB: connection was killed
	8002: Retry,     // TiDB: a SELECT FOR UPDATE in an optimistic transaction lost
	8005: Retry,     // TiDB: write conflict
	8022: Retry,     // TiDB: commit failed, retryable
	8028: Retry,     // TiDB: the schema changed
	9007: Retry,     // TiDB: write conflict
}

// https://www.sqlite.org/rescode.html; a primary code stands for all its extended codes that are not here.
var resultCodes = map[int]Meaning{
	5:    Retry | LockBusy, // SQLITE_BUSY, after busy_timeout
	6:    Retry | LockBusy, // SQLITE_LOCKED
	9:    Canceled,         // SQLITE_INTERRUPT
	262:  Retry | LockBusy, // SQLITE_LOCKED_SHAREDCACHE
	261:  Retry,            // SQLITE_BUSY_RECOVERY
	517:  Retry,            // SQLITE_BUSY_SNAPSHOT: read before another one wrote
	275:  Check,            // SQLITE_CONSTRAINT_CHECK
	1555: Unique,           // SQLITE_CONSTRAINT_PRIMARYKEY
	2067: Unique,           // SQLITE_CONSTRAINT_UNIQUE
	2579: Unique,           // SQLITE_CONSTRAINT_ROWID
}

// Of returns what err means. The zero Meaning says that no server's error is in it: it comes from the connection, the
// driver, the context or the program.
func Of(err error) Meaning {
	switch e := err.(type) {
	case nil:
		return 0
	case interface{ SQLState() string }:
		if state := e.SQLState(); len(state) == 5 {
			return ofState(state)
		}
	}
	if m := ofFields(err); m != 0 {
		return m
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return Of(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if m := Of(inner); m != 0 {
				return m
			}
		}
	}
	return 0
}

func ofState(state string) Meaning {
	m := sqlStates[state]
	if strings.HasPrefix(state, "08") { // connection exceptions
		m |= Ambiguous
	}
	return m | Server
}

// ofFields knows the drivers whose errors have no method to ask: it looks at the shape of the error's type.
func ofFields(err error) Meaning {
	v := reflect.ValueOf(err)
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return 0
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Struct {
		// *mysql.MySQLError of go-sql-driver: Number uint16, SQLState [5]byte, Message string.
		if f := v.FieldByName("Number"); f.IsValid() && f.Kind() == reflect.Uint16 && v.FieldByName("Message").IsValid() {
			return numbers[uint16(f.Uint())] | Server
		}
	}
	if code, ok := resultCode(err, v); ok {
		m, known := resultCodes[code]
		if !known {
			m = resultCodes[code&0xff]
		}
		return m | Server
	}
	return 0
}

// resultCode returns SQLite's extended result code. Every driver gives it differently, and a program's own errors have
// methods and fields called Code too, so the type must come from a package that names itself after SQLite.
func resultCode(err error, v reflect.Value) (int, bool) {
	if path := v.Type().PkgPath(); !strings.Contains(path, "sqlite") && !strings.Contains(path, "libsql") {
		return 0, false
	}
	if e, ok := err.(interface{ Code() int }); ok { // modernc.org/sqlite
		return e.Code(), true
	}
	if v.Kind() == reflect.Struct { // mattn/go-sqlite3 and its forks
		if f := v.FieldByName("ExtendedCode"); f.IsValid() && f.CanInt() {
			if f.Int() != 0 {
				return int(f.Int()), true
			}
			if c := v.FieldByName("Code"); c.IsValid() && c.CanInt() {
				return int(c.Int()), true
			}
		}
	}
	for _, name := range [...]string{"ExtendedCode", "Code"} { // ncruces/go-sqlite3, whose methods return types of its own
		m := reflect.ValueOf(err).MethodByName(name)
		if !m.IsValid() || m.Type().NumIn() != 0 || m.Type().NumOut() != 1 {
			continue
		}
		switch out := m.Call(nil)[0]; {
		case out.CanInt():
			return int(out.Int()), true
		case out.CanUint():
			return int(out.Uint()), true
		}
	}
	// ncruces also returns its codes themselves as errors.
	if t := v.Type().Name(); t == "ErrorCode" || t == "ExtendedErrorCode" || t == "ErrNo" || t == "ErrNoExtended" {
		if v.CanInt() {
			return int(v.Int()), true
		}
		if v.CanUint() {
			return int(v.Uint()), true
		}
	}
	return 0, false
}
