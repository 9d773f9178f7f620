// Package sqlerr tells what an error of a database driver means, without importing any driver.
//
// PostgreSQL's drivers have errors with a method SQLState() string, or in old versions of lib/pq a field Code,
// go-sql-driver's have a field Number, and the SQLite drivers each have their own way to give a result code. All are found through any wrapping, also that of
// errors.Join.
package sqlerr

import (
	"reflect"
	"strings"
)

// Meaning is what is known of an error; the flags combine.
type Meaning uint32

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
	// NoColumn: a table has no column of that name.
	NoColumn
	// StalePlan: the table was altered after the driver had prepared the statement, which did nothing. The driver prepares
	// it anew. Only in a transaction is that of no use, which has failed with this.
	StalePlan
	// DivisionByZero: a number was divided by zero.
	DivisionByZero
	// NoTransaction: COMMIT or ROLLBACK found none.
	NoTransaction
	// NoDefault: a column that takes no NULL was given none, or no value at all.
	NoDefault
	// Unsent: the session had been ended before, because it was idle for too long or the pooler is about to exit. Nothing of
	// the statement was read, and a new connection may do better.
	Unsent
	// Interrupted: PostgreSQL ended the session where it looks for interrupts. What the statement had returned by then came
	// first.
	Interrupted
	// Deadlock: the transactions waited for one another, and the server undid this one.
	Deadlock
	// AtOnce: with LockBusy, the server refuses at once whatever the limit for lock waits is.
	AtOnce
)

// Has reports whether all the flags are set.
func (m Meaning) Has(flags Meaning) bool { return m&flags == flags }

// https://www.postgresql.org/docs/current/errcodes-appendix.html
// https://www.cockroachlabs.com/docs/stable/common-errors, CR000 was CockroachDB's own code for 40001 before v2.
var sqlStates = map[string]Meaning{
	"40001": Retry,
	"40P01": Retry | Deadlock,
	"CR000": Retry,
	"55P03": LockBusy,
	"40003": Ambiguous, // statement_completion_unknown
	"57P01": Ambiguous, // admin_shutdown
	"57P02": Ambiguous, // crash_shutdown
	"57P03": Ambiguous, // cannot_connect_now
	"23505": Unique,
	"23514": Check,
	"23502": NoDefault,
	"22001": OutOfRange, // string_data_right_truncation
	"22003": OutOfRange,
	"22012": DivisionByZero,
	"57014": Canceled,
	"25P02": Aborted,
	"42P10": NoArbiter,
	"42703": NoColumn,
}

// https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html
// https://mariadb.com/docs/server/reference/error-codes, https://docs.pingcap.com/tidb/stable/error-codes
var numbers = map[uint16]Meaning{
	1213: Retry | Deadlock, // deadlock; on Galera also a write set that lost its certification
	1412: Retry,            // the table was altered after the snapshot of the transaction was taken
	1020: Retry,            // MariaDB with innodb_snapshot_isolation: the row changed since the snapshot
	3101: Retry,            // MySQL group replication: rolled back by a plugin
	3058: Retry | Deadlock, // MySQL: deadlock among GET_LOCKs
	1205: LockBusy,         // undoes the statement alone: the transaction must be rolled back before it is rerun
	3572: LockBusy,         // NOWAIT
	1062: Unique,
	1048: NoDefault,
	1364: NoDefault,
	3819: Check, // MySQL
	4025: Check, // MariaDB
	1264: OutOfRange,
	1265: OutOfRange, // an ENUM or a SET has no such member
	1406: OutOfRange, // a text is too long
	1690: OutOfRange,
	1317: Canceled, // KILL QUERY
	3024: Canceled, // MySQL max_execution_time
	1969: Canceled, // MariaDB max_statement_time
	1047: NotReady,
	1054: NoColumn,
	1053: Ambiguous, // server shutdown in progress
	1180: Ambiguous, // an engine or Galera failed in mid-COMMIT; but see lostToGroup
	1927: Ambiguous, // MariaDB: connection was killed
	8002: Retry,     // TiDB: a SELECT FOR UPDATE in an optimistic transaction lost
	8005: Retry,     // TiDB: write conflict
	8022: Retry,     // TiDB: commit failed, retryable
	8028: Retry,     // TiDB: the schema changed
	9007: Retry,     // TiDB: write conflict
}

// https://www.sqlite.org/rescode.html; a primary code stands for all its extended codes that are not here.
var resultCodes = map[int]Meaning{
	5:    Retry | LockBusy,          // SQLITE_BUSY, after busy_timeout
	6:    Retry | LockBusy | AtOnce, // SQLITE_LOCKED, of which the busy handler is not told
	9:    Canceled,                  // SQLITE_INTERRUPT
	10:   Ambiguous,                 // SQLITE_IOERR: the journal or the WAL may have reached the disk
	262:  Retry | LockBusy | AtOnce, // SQLITE_LOCKED_SHAREDCACHE
	261:  Retry,                     // SQLITE_BUSY_RECOVERY
	517:  Retry,                     // SQLITE_BUSY_SNAPSHOT: read before another one wrote
	275:  Check,                     // SQLITE_CONSTRAINT_CHECK
	1299: NoDefault,                 // SQLITE_CONSTRAINT_NOTNULL
	1555: Unique,                    // SQLITE_CONSTRAINT_PRIMARYKEY
	2067: Unique,                    // SQLITE_CONSTRAINT_UNIQUE
	2579: Unique,                    // SQLITE_CONSTRAINT_ROWID
}

// Of returns what err means. The zero Meaning says that no server's error is in it: it comes from the connection, the
// driver, the context or the program. Errors that are joined add up.
func Of(err error) Meaning {
	if err == nil {
		return 0
	}
	if v := reflect.ValueOf(err); v.Kind() != reflect.Pointer || !v.IsNil() {
		if m := ofOne(err, reflect.Indirect(v)); m != 0 {
			return m
		}
	} else {
		return 0 // its methods may panic
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return Of(e.Unwrap())
	case interface{ Unwrap() []error }:
		var m Meaning
		for _, inner := range e.Unwrap() {
			m |= Of(inner)
		}
		return m
	}
	return 0
}

// ofOne looks at one error, not at what it wraps. v is err, or what it points to.
func ofOne(err error, v reflect.Value) Meaning {
	if state, ok := sqlState(err, v); ok {
		return ofState(state, v)
	}
	if number, message, ok := mysqlError(v); ok {
		if number == 1180 && lostToGroup(message) {
			return Retry | Server
		}
		return numbers[number] | Server
	}
	if code, ok := resultCode(err, v); ok {
		m, known := resultCodes[code]
		if !known {
			m = resultCodes[code&0xff]
		}
		if code == sqliteError {
			m |= ofText(err.Error())
		}
		return m | Server
	}
	return 0
}

// sqliteError is the code that SQLite has for everything that is wrong with the text of a statement. Only the error's own
// text, which is not translated, says what it is.
const sqliteError = 1

func ofText(text string) Meaning {
	switch {
	case strings.Contains(text, "no such column"), strings.Contains(text, "has no column named"):
		return NoColumn
	case strings.Contains(text, "no transaction is active"):
		return NoTransaction
	}
	return 0
}

// sqlState returns the SQLSTATE of an error. lib/pq before 1.10 has no method for it: its *pq.Error has a field Code, of the
// type pq.ErrorCode.
func sqlState(err error, v reflect.Value) (state string, ok bool) {
	if e, ok := err.(interface{ SQLState() string }); ok {
		state = e.SQLState()
		return state, isState(state)
	}
	if v.Kind() != reflect.Struct || v.Type().Name() != "Error" {
		return "", false
	}
	code := v.FieldByName("Code")
	if !code.IsValid() || code.Kind() != reflect.String || code.Type().Name() != "ErrorCode" || textField(v, "Severity") == "" {
		return "", false
	}
	return code.String(), isState(code.String())
}

// isState reports whether s has the form of an SQLSTATE: five digits or capital letters.
func isState(s string) bool {
	return len(s) == 5 && strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func ofState(state string, v reflect.Value) Meaning {
	m := sqlStates[state] | Server
	switch {
	case state == "08P01" && ended(v) && textField(v, "Routine") == "":
		m |= ofPooler(textField(v, "Message"))
	case strings.HasPrefix(state, "08"): // connection exceptions
		m |= Ambiguous
	case state == "57014" && strings.HasPrefix(textField(v, "Message"), "query execution canceled"):
		// CockroachDB puts this in place of every error of a statement that it cancels, 40003 included.
		m |= Ambiguous
	case state == "57P05": // idle_session_timeout
		m |= Unsent
	case state == "25P03":
		// A transaction that was idle for too long: the statement came too late to be read.
	case ended(v):
		m |= Ambiguous
		if textField(v, "Routine") == "ProcessInterrupts" {
			m |= Interrupted
		}
	case state == "0A000" && textField(v, "Routine") == "RevalidateCachedQuery":
		// The code stands for other things too, and the text may be translated.
		m |= Retry | StalePlan
	}
	return m
}

// poolerRefusals are how the texts of PgBouncer begin when it refuses a client for which it has no connection to the server, so
// that nothing of the statement has reached it. PgBouncer has one code for all that it says, and, unlike the server, names
// no routine. Its other texts leave the outcome unknown, "query timeout" and "server conn crashed?" among them.
//
// https://github.com/pgbouncer/pgbouncer/tree/master/src: janitor.c, objects.c, client.c.
var poolerRefusals = []struct {
	text string
	m    Meaning
}{
	{"server login has been failing", 0},
	{"server login failed:", 0},
	{"query_wait_timeout", 0},
	{"query_timeout", 0},
	{"no more connections allowed", 0},
	{"client_login_timeout", 0},
	{"client_idle_timeout", Unsent},
	{"server shutting down", Unsent},
}

func ofPooler(text string) Meaning {
	for _, refusal := range poolerRefusals {
		if strings.HasPrefix(text, refusal.text) {
			return refusal.m
		}
	}
	return Ambiguous
}

// textField returns the text in a field of an error; "" if there is none.
func textField(v reflect.Value, name string) string {
	if v.Kind() != reflect.Struct {
		return ""
	}
	if f := v.FieldByName(name); f.IsValid() && f.Kind() == reflect.String {
		return f.String()
	}
	return ""
}

// ended reports whether PostgreSQL ended the session with this error, which may come after the commit record: it says
// FATAL, or PANIC when the whole server goes down, such as when the log cannot be flushed. pgx and lib/pq have the word
// as a field, and another one for servers that translate it.
func ended(v reflect.Value) bool {
	for _, name := range [...]string{"SeverityUnlocalized", "Severity"} {
		switch textField(v, name) {
		case "FATAL", "PANIC":
			return true
		}
	}
	return false
}

// mysqlError returns what go-sql-driver's *mysql.MySQLError says, which has no method to ask: its fields are Number uint16,
// SQLState [5]byte and Message string.
func mysqlError(v reflect.Value) (number uint16, message string, ok bool) {
	if v.Kind() != reflect.Struct || !strings.Contains(strings.ToLower(v.Type().Name()), "mysql") {
		return 0, "", false
	}
	n, m := v.FieldByName("Number"), v.FieldByName("Message")
	if n.Kind() != reflect.Uint16 || m.Kind() != reflect.String {
		return 0, "", false
	}
	return uint16(n.Uint()), m.String(), true
}

// lostToGroup reports whether the message of error 1180 is that of a transaction that the write of another member of a
// Group Replication has ended. InnoDB has undone it: 149 is HA_ERR_LOCK_DEADLOCK. MySQL writes the number like this in all
// its languages, and MariaDB, of which nothing like it is known, puts no dash behind it.
func lostToGroup(message string) bool { return strings.Contains(" "+message, " 149 - '") }

// resultCode returns SQLite's extended result code. Every driver gives it differently, and a program's own errors have
// methods and fields called Code too, so the type must come from a package that names itself after SQLite.
func resultCode(err error, v reflect.Value) (int, bool) {
	if path := v.Type().PkgPath(); !strings.Contains(path, "sqlite") && !strings.Contains(path, "libsql") {
		return 0, false
	}
	// mattn and ncruces also return their codes themselves as errors. Those of ncruces have a method Code, which cuts the
	// extended part off, so they come first.
	switch v.Type().Name() {
	case "ErrorCode", "ExtendedErrorCode", "ErrNo", "ErrNoExtended":
		return integer(v)
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
	// ncruces/go-sqlite3, whose methods return types of its own. The names are constants because MethodByName of a
	// variable makes the linker keep every exported method of the whole program.
	if code, ok := call(reflect.ValueOf(err).MethodByName("ExtendedCode")); ok {
		return code, true
	}
	if code, ok := call(reflect.ValueOf(err).MethodByName("Code")); ok {
		return code, true
	}
	return 0, false
}

// call returns the integer that a method without parameters returns.
func call(method reflect.Value) (int, bool) {
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 {
		return 0, false
	}
	return integer(method.Call(nil)[0])
}

func integer(v reflect.Value) (int, bool) {
	switch {
	case v.CanInt():
		return int(v.Int()), true
	case v.CanUint():
		return int(v.Uint()), true
	}
	return 0, false
}
