package sqlerr_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/sqlerr/sqlerrtest/sqlite"
)

// PgError has the shape of *pgconn.PgError.
type PgError struct{ Severity, SeverityUnlocalized, Code, Message, Routine string }

func (e *PgError) Error() string    { return e.Message }
func (e *PgError) SQLState() string { return e.Code }

// pqError has the shape of *pq.Error.
type pqError struct {
	Severity string
	Code     errorCode
}

type errorCode string

func (e *pqError) Error() string    { return string(e.Code) }
func (e *pqError) SQLState() string { return string(e.Code) }

// Error has the shape of *pq.Error before lib/pq 1.10, which has no method SQLState.
type Error struct {
	Severity string
	Code     ErrorCode
	Message  string
	Routine  string
}

type ErrorCode string

func (e *Error) Error() string { return "pq: " + e.Message }

type programError struct{ Severity, Code string }

func (e *programError) Error() string { return e.Code }

// MySQLError has the shape of *mysql.MySQLError.
type MySQLError struct {
	Number   uint16
	SQLState [5]byte
	Message  string
}

func (e *MySQLError) Error() string { return e.Message }

func pooler(text string) error {
	return &PgError{Severity: "FATAL", Code: "08P01", Message: text}
}
func interrupted(code string) error {
	return &PgError{Severity: "FATAL", Code: code, Routine: "ProcessInterrupts"}
}
func pg(code string) error      { return &PgError{Severity: "ERROR", Code: code} }
func my(number uint16) error    { return &MySQLError{Number: number, Message: "refused"} }
func lost(message string) error { return &MySQLError{Number: 1180, Message: message} }
func fatal(code string) error   { return &PgError{Severity: "FATAL", Code: code} }
func severe(code string) error {
	return &PgError{Severity: "PANIK", SeverityUnlocalized: "PANIC", Code: code}
}

func TestOf(t *testing.T) {
	const server = sqlerr.Server
	for _, tt := range []struct {
		name string
		err  error
		want sqlerr.Meaning
	}{
		{"serialization failure", pg("40001"), server | sqlerr.Retry},
		{"deadlock", pg("40P01"), server | sqlerr.Retry | sqlerr.Deadlock},
		{"old CockroachDB", pg("CR000"), server | sqlerr.Retry},
		{"lock not available", pg("55P03"), server | sqlerr.LockBusy},
		{"completion unknown", pg("40003"), server | sqlerr.Ambiguous},
		{"admin shutdown", fatal("57P01"), server | sqlerr.Ambiguous},
		{"crash shutdown", fatal("57P02"), server | sqlerr.Ambiguous},
		{"cannot connect now", fatal("57P03"), server | sqlerr.Ambiguous},
		{"connection failure", pg("08006"), server | sqlerr.Ambiguous},
		{"protocol violation", pg("08P01"), server | sqlerr.Ambiguous},
		{"unique", pg("23505"), server | sqlerr.Unique},
		{"check", pg("23514"), server | sqlerr.Check},
		{"not null", pg("23502"), server | sqlerr.NoDefault},
		{"out of range", pg("22003"), server | sqlerr.OutOfRange},
		{"a text too long", pg("22001"), server | sqlerr.OutOfRange},
		{"cancelled", pg("57014"), server | sqlerr.Canceled},
		{"aborted", pg("25P02"), server | sqlerr.Aborted},
		{"no arbiter", pg("42P10"), server | sqlerr.NoArbiter},
		{"no column", pg("42703"), server | sqlerr.NoColumn},
		{"not supported", pg("0A000"), server},
		{"an altered table", &PgError{Severity: "FEHLER", Code: "0A000", Routine: "RevalidateCachedQuery"},
			server | sqlerr.Retry | sqlerr.StalePlan},
		{"syntax error", pg("42601"), server},
		{"idle in transaction", fatal("25P03"), server},
		{"idle session", fatal("57P05"), server | sqlerr.Unsent},
		{"interrupted", interrupted("57P01"), server | sqlerr.Ambiguous | sqlerr.Interrupted},
		{"transaction timeout", interrupted("25P04"), server | sqlerr.Ambiguous | sqlerr.Interrupted},
		{"idle in transaction, interrupted", interrupted("25P03"), server},
		{"an error where interrupts are looked for", &PgError{Severity: "ERROR", Code: "57014", Routine: "ProcessInterrupts"},
			server | sqlerr.Canceled},
		{"fatal elsewhere", &PgError{Severity: "FATAL", Code: "57P01", Routine: "quickdie"}, server | sqlerr.Ambiguous},
		{"fatal", fatal("XX000"), server | sqlerr.Ambiguous},
		{"panic, translated", severe("58030"), server | sqlerr.Ambiguous},
		{"pq", &pqError{"ERROR", "40001"}, server | sqlerr.Retry},
		{"old pq", &Error{Severity: "ERROR", Code: "40001"}, server | sqlerr.Retry},
		{"old pq, fatal", &Error{Severity: "FATAL", Code: "57P01"}, server | sqlerr.Ambiguous},
		{"old pq, stale plan", &Error{Severity: "ERROR", Code: "0A000", Routine: "RevalidateCachedQuery"},
			server | sqlerr.Retry | sqlerr.StalePlan},
		{"a program's own Code", &programError{Code: "40001"}, 0},
		{"pq, panic", &pqError{"PANIC", "53100"}, server | sqlerr.Ambiguous},

		{"PgBouncer, no server", pooler("server login has been failing, try again later (server_login_retry)"), server},
		{"PgBouncer, cached", pooler("server login has been failing, cached error: connect failed (server_login_retry)"), server},
		{"PgBouncer, login", pooler("server login failed: FATAL no pg_hba.conf entry"), server},
		{"PgBouncer, waited", pooler("query_wait_timeout"), server},
		{"PgBouncer, waited for all of the query", pooler("query_timeout"), server},
		{"PgBouncer, full", pooler("no more connections allowed (max_client_conn)"), server},
		{"PgBouncer, late", pooler("client_login_timeout (server down)"), server},
		{"PgBouncer, idle", pooler("client_idle_timeout"), server | sqlerr.Unsent},
		{"PgBouncer, shutdown", pooler("server shutting down"), server | sqlerr.Unsent},
		{"PgBouncer, crash", pooler("server conn crashed?"), server | sqlerr.Ambiguous},
		{"PgBouncer, at the server", pooler("query timeout"), server | sqlerr.Ambiguous},
		{"PgBouncer, transaction", pooler("transaction timeout"), server | sqlerr.Ambiguous},
		{"PgBouncer, within the text", pooler("bad packet: query_wait_timeout"), server | sqlerr.Ambiguous},
		{"CockroachDB, cancelled", &PgError{Severity: "ERROR", Code: "57014", Message: "query execution canceled"},
			server | sqlerr.Canceled | sqlerr.Ambiguous},
		{"a server that says so", &PgError{Severity: "FATAL", Code: "08P01", Message: "query_wait_timeout", Routine: "f"},
			server | sqlerr.Ambiguous},
		{"an error that says so", &PgError{Severity: "ERROR", Code: "08P01", Message: "query_wait_timeout"}, server | sqlerr.Ambiguous},
		{"another code", &PgError{Severity: "FATAL", Code: "08006", Message: "query_wait_timeout"}, server | sqlerr.Ambiguous},

		{"MySQL deadlock", my(1213), server | sqlerr.Retry | sqlerr.Deadlock},
		{"MariaDB record changed", my(1020), server | sqlerr.Retry},
		{"an altered table of MySQL", my(1412), server | sqlerr.Retry},
		{"no column of MySQL", my(1054), server | sqlerr.NoColumn},
		{"lock wait timeout", my(1205), server | sqlerr.LockBusy},
		{"NOWAIT", my(3572), server | sqlerr.LockBusy},
		{"duplicate", my(1062), server | sqlerr.Unique},
		{"MySQL check", my(3819), server | sqlerr.Check},
		{"MySQL no default", my(1364), server | sqlerr.NoDefault},
		{"MySQL NULL", my(1048), server | sqlerr.NoDefault},
		{"MariaDB check", my(4025), server | sqlerr.Check},
		{"MySQL out of range", my(1690), server | sqlerr.OutOfRange},
		{"MySQL out of range for the column", my(1264), server | sqlerr.OutOfRange},
		{"MySQL a text too long", my(1406), server | sqlerr.OutOfRange},
		{"MySQL no member of an ENUM", my(1265), server | sqlerr.OutOfRange},
		{"killed", my(1317), server | sqlerr.Canceled},
		{"Galera not ready", my(1047), server | sqlerr.NotReady},
		{"failed in mid-commit", my(1180), server | sqlerr.Ambiguous},
		{"Group Replication, rolled back by the plugin", my(3101), server | sqlerr.Retry},
		{"Group Replication, lost", lost("Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT"), server | sqlerr.Retry},
		{"Group Replication, lost, in Hungarian", lost("149 - 'Lock deadlock; Retry transaction' hiba a COMMIT"), server | sqlerr.Retry},
		{"failed in mid-commit otherwise", lost("Got error 1149 - 'unknown' during COMMIT"), server | sqlerr.Ambiguous},
		{"failed in mid-commit on MariaDB", lost(`Got error 149 "Lock deadlock; Retry transaction" during COMMIT`), server | sqlerr.Ambiguous},
		{"connection killed", my(1927), server | sqlerr.Ambiguous},
		{"MySQL syntax error", my(1064), server},
		{"TiDB write conflict", my(9007), server | sqlerr.Retry},

		{"SQLite busy", &sqlite.Coded{C: 5}, server | sqlerr.Retry | sqlerr.LockBusy},
		{"SQLite busy, extended", &sqlite.Coded{C: 773}, server | sqlerr.Retry | sqlerr.LockBusy},
		{"SQLite snapshot", &sqlite.Coded{C: 517}, server | sqlerr.Retry},
		{"SQLite unique", &sqlite.Coded{C: 2067}, server | sqlerr.Unique},
		{"SQLite not null", &sqlite.Coded{C: 1299}, server | sqlerr.NoDefault},
		{"SQLite check", &sqlite.Coded{C: 275}, server | sqlerr.Check},
		{"SQLite constraint", &sqlite.Coded{C: 19}, server},
		{"SQLite I/O", &sqlite.Coded{C: 10 | 4<<8}, server | sqlerr.Ambiguous},
		{"SQLite interrupt", &sqlite.Coded{C: 9}, server | sqlerr.Canceled},
		{"SQLite error", &sqlite.Coded{C: 1}, server},
		{"mattn", sqlite.Fields{Code: 5, ExtendedCode: 517}, server | sqlerr.Retry},
		{"mattn, not extended", sqlite.Fields{Code: 5}, server | sqlerr.Retry | sqlerr.LockBusy},
		{"mattn, code alone", sqlite.ErrNo(6), server | sqlerr.Retry | sqlerr.LockBusy | sqlerr.AtOnce},
		{"ncruces", &sqlite.Typed{C: 1555}, server | sqlerr.Unique},
		{"ncruces, code alone", sqlite.ErrorCode(5), server | sqlerr.Retry | sqlerr.LockBusy},
		{"ncruces, extended code alone", sqlite.ExtendedErrorCode(517), server | sqlerr.Retry},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, err := range []error{
				tt.err,
				fmt.Errorf("decrement: %w", tt.err),
				fmt.Errorf("%w: %w", errors.New("first"), tt.err),
				errors.Join(errors.New("first"), nil, fmt.Errorf("second: %w", tt.err)),
				fmt.Errorf("a: %w", errors.Join(errors.New("b"), fmt.Errorf("c: %w", errors.Join(tt.err, context.Canceled)))),
				fmt.Errorf("%w", fmt.Errorf("%w", fmt.Errorf("%w", tt.err))),
				&wrapper{tt.err},
			} {
				require.Equal(t, tt.want, sqlerr.Of(err), "%#v", err)
			}
		})
	}
}

type wrapper struct{ error }

func (w *wrapper) Unwrap() error { return w.error }

// Errors of programs that look a little like a server's.
type (
	httpError      struct{ Code int }
	codedError     struct{ code int }
	typedCodeError struct{ code errorCode }
	numbered       struct{ Number uint16 }
	ticket         struct {
		Number  uint16
		Message string
	}
	stateError        string
	extended          struct{ Code, ExtendedCode int }
	panicky           struct{}
	MySQLTicketNumber struct{ Number int }
)

func (e httpError) Error() string         { return "http" }
func (e *codedError) Error() string       { return "coded" }
func (e *codedError) Code() int           { return e.code }
func (e *codedError) ExtendedCode() int   { return e.code }
func (e typedCodeError) Error() string    { return "coded" }
func (e typedCodeError) Code() errorCode  { return e.code }
func (e numbered) Error() string          { return "numbered" }
func (e *ticket) Error() string           { return e.Message }
func (e stateError) Error() string        { return string(e) }
func (e stateError) SQLState() string     { return string(e) }
func (e extended) Error() string          { return "extended" }
func (e *panicky) Error() string          { return "panicky" }
func (e *panicky) Code() int              { panic("not to be asked") }
func (e MySQLTicketNumber) Error() string { return "ticket" }

func TestOfNoServersError(t *testing.T) {
	for _, err := range []error{
		nil, io.EOF, context.Canceled, context.DeadlineExceeded, driver.ErrBadConn, sql.ErrNoRows, sql.ErrTxDone,
		errors.New("SQLSTATE 40001"), errors.New("Error 1213: Deadlock"), errors.New("database is locked (5)"),
		httpError{5}, &codedError{5}, &codedError{1213}, typedCodeError{"40001"}, numbered{1213}, &ticket{1213, "open"},
		stateError(""), stateError("CA"), stateError("error"), stateError("4000é"), stateError("40001 "), extended{5, 517}, &panicky{},
		MySQLTicketNumber{1213},
		sqlite.Plain{C: 5}, sqlite.Asking{}, sqlite.Many{},
	} {
		require.Zero(t, sqlerr.Of(err), "%#v", err)
		require.Zero(t, sqlerr.Of(fmt.Errorf("wrapped: %w", wrapped(err))), "%#v", err)
		require.Zero(t, sqlerr.Of(errors.Join(err, errors.New("other"))), "%#v", err)
	}
}

func wrapped(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}

// A nil pointer in an interface is not nil, and most methods of what it should point to panic.
func TestOfNilPointers(t *testing.T) {
	for _, err := range []error{
		(*PgError)(nil), (*pqError)(nil), (*Error)(nil), (*MySQLError)(nil), (*sqlite.Coded)(nil), (*sqlite.Typed)(nil), (*wrapper)(nil),
	} {
		require.NotPanics(t, func() {
			require.Zero(t, sqlerr.Of(err))
			require.Zero(t, sqlerr.Of(&wrapper{err}))
			require.Zero(t, sqlerr.Of(errors.Join(err)))
		}, "%T", err)
	}
}

// What is joined adds up, so that a definite error cannot hide an ambiguous one beside it. What wraps comes first.
func TestOfJoined(t *testing.T) {
	require.Equal(t, sqlerr.Server|sqlerr.Unique|sqlerr.Ambiguous, sqlerr.Of(errors.Join(pg("23505"), fatal("57P01"))))
	require.Equal(t, sqlerr.Server|sqlerr.Unique|sqlerr.Ambiguous, sqlerr.Of(errors.Join(fatal("57P01"), pg("23505"))))
}

func TestHas(t *testing.T) {
	m := sqlerr.Server | sqlerr.Retry
	require.True(t, m.Has(sqlerr.Retry))
	require.True(t, m.Has(sqlerr.Retry|sqlerr.Server))
	require.False(t, m.Has(sqlerr.Retry|sqlerr.LockBusy))
	require.False(t, m.Has(sqlerr.LockBusy))
}

func BenchmarkOf(b *testing.B) {
	err := fmt.Errorf("decrement: %w", errors.Join(errors.New("first"), my(1213)))
	for b.Loop() {
		sqlerr.Of(err)
	}
}
