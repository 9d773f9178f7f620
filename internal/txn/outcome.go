package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// definite reports whether the error is the server's own answer that it has not applied the statement or the COMMIT.
func definite(err error) bool {
	m := sqlerr.Of(err)
	return m.Has(sqlerr.Server) && !m.Has(sqlerr.Ambiguous)
}

// RefusedByServer reports whether the server refused what a statement would have written. It may take other values.
func RefusedByServer(err error) bool {
	const couldBeData = sqlerr.Server | sqlerr.OutOfRange | sqlerr.Check | sqlerr.Unique | sqlerr.NoDefault | sqlerr.DivisionByZero
	m := sqlerr.Of(err)
	return m.Has(sqlerr.Server) && m&^couldBeData == 0 && !errors.Is(err, nogap.ErrOutcomeUnknown)
}

// RefusedByDriver reports whether the driver refused the values of a statement, and sent nothing. It is true as well of an
// error that is no driver's.
func RefusedByDriver(err error) bool {
	return maybeDefinite(err) && !errors.Is(err, nogap.ErrOutcomeUnknown)
}

// maybeDefinite reports whether err may come from before the statement was sent: a value that the driver cannot encode,
// or a driver's own word for an answer of the server, such as pgx.ErrTxCommitRollback. A connection that still answers
// afterwards tells that from a connection lost in mid-statement: the reply that would be missing comes first.
//
// An error of the transport is not one of them, even if the connection answers afterwards: drivers that speak HTTP, or
// that reconnect by themselves, would then answer over another connection.
func maybeDefinite(err error) bool {
	return sqlerr.Of(err) == 0 && !errors.Is(err, driver.ErrBadConn) && !transport(err) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// transport reports whether err comes from reading or writing a connection.
func transport(err error) bool {
	var netErr interface{ Timeout() bool } // net.Error, and also syscall.Errno and net.ErrClosed
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &netErr)
}

// timedOut reports whether err says that a time limit of the driver's own was exceeded.
func timedOut(err error) bool {
	var netErr interface{ Timeout() bool }
	return sqlerr.Of(err) == 0 && errors.As(err, &netErr) && netErr.Timeout()
}

// unsent reports whether err proves that nothing of the statement has reached the server.
//
// That pgx calls an error SafeToRetry proves nothing: if the connection dies while it reads the answer to a statement
// without arguments, COMMIT included, it says "conn closed" and calls the retry safe (5.12, MultiResultReader.NextResult).
// Its database/sql driver turns that into driver.ErrBadConn.
func unsent(db *sql.DB, err error) bool {
	if errors.Is(err, sql.ErrConnDone) {
		return true // the pool was closed; the driver was not called
	}
	return errors.Is(err, driver.ErrBadConn) && honestBadConn[driverPackage(db)] || sqlerr.Of(err).Has(sqlerr.Unsent)
}

// honestBadConn names the packages of the drivers that return driver.ErrBadConn only if nothing was sent, which is what
// database/sql asks for. lib/pq isn't among them: it also turns a connection that died in mid-statement into it
// (lib/pq#939). Nor is pgx, see unsent, nor any wrapper, since what it wraps is not known.
var honestBadConn = map[string]bool{
	"github.com/go-sql-driver/mysql":            true,
	"github.com/nogap-go/nogap/internal/fakedb": true,
}

// The packages of the drivers of PostgreSQL. That of pgx gives up a COMMIT when the context of BEGIN ends.
const (
	pgxPackage = "github.com/jackc/pgx/v5/stdlib"
	pqPackage  = "github.com/lib/pq"
)

func driverPackage(db *sql.DB) string {
	t := reflect.TypeOf(db.Driver())
	if t == nil {
		return ""
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.PkgPath()
}

// unknown marks err as one after which the write may have been applied.
func unknown(ctx context.Context, err error) error {
	return JoinContext(ctx, fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err))
}

// JoinContext adds the error of a context that has ended to err, which often is just what the end of the context led
// to: a closed connection, a cancelled statement, a transaction that is over. So errors.Is(err, ctx.Err()) holds.
func JoinContext(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	over := ctx.Err()
	if deadline, ok := ctx.Deadline(); over == nil && ok && !time.Now().Before(deadline) {
		over = context.DeadlineExceeded // a connection that has the same deadline may be faster than the context's timer
	}
	if over == nil || errors.Is(err, over) {
		return err
	}
	return fmt.Errorf("%w: %w", over, err)
}
