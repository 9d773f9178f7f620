package txn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
)

// In returns the Runner whose statements are part of tx. Nothing is retried there, since only the owner of a
// transaction may run it again, and no outcome is unknown before its COMMIT. A type that may be no transaction, such as a
// *sql.Conn, may be in autocommit: there an error that is not the server's own answer is nogap.ErrOutcomeUnknown.
func In(tx nogap.Tx) Runner {
	tx = unwrap(tx)
	return inTx{tx, isTx(tx)}
}

// isTx reports whether the type of tx is that of transactions.
func isTx(tx nogap.Tx) bool {
	switch tx.(type) {
	case *sql.Tx, *sqlx.Tx:
		return true
	}
	return false
}

// DBOf returns the *sql.DB on which tx was begun, or nil if its type does not tell.
func DBOf(tx nogap.Tx) *sql.DB {
	tx = unwrap(tx)
	if wrapper, ok := tx.(*sqlx.Tx); ok && wrapper != nil {
		tx = wrapper.Tx
	}
	inner, ok := tx.(*sql.Tx)
	if !ok || inner == nil {
		return nil
	}
	// database/sql keeps it, and has no method for it.
	field := reflect.ValueOf(inner).Elem().FieldByName("db")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*sql.DB]() {
		return nil
	}
	return (*sql.DB)(field.UnsafePointer())
}

type inTx struct {
	tx   nogap.Tx
	sure bool // that it is a transaction
}

func (t inTx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	res, err := t.tx.ExecContext(ctx, query, args...)
	return res, t.wrote(ctx, err)
}

func (t inTx) QueryRow(ctx context.Context, query string, args []any, dest ...any) error {
	return t.wrote(ctx, readRow(ctx, t.tx, query, args, dest))
}

// wrote returns the error of a statement that writes.
func (t inTx) wrote(ctx context.Context, err error) error {
	if err == nil || t.sure || definite(err) || errors.Is(err, sql.ErrNoRows) {
		return JoinContext(ctx, explainBadConn(err))
	}
	return unknown(ctx, err)
}

func (t inTx) Read(ctx context.Context, query string, args []any, dest ...any) error {
	return t.ReadSession(ctx, query, args, dest...)
}

func (t inTx) ReadSession(ctx context.Context, query string, args []any, dest ...any) error {
	return explainBadConn(readRow(ctx, t.tx, query, args, dest))
}

// Applied implements Runner: in a transaction nothing stands before COMMIT.
func (t inTx) Applied(err error) error {
	if t.sure {
		return err
	}
	return fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err)
}

// unwrap returns the transaction inside GORM's *PreparedStmtTX, which prepares every statement: MySQL refuses to prepare
// SAVEPOINT. Others are returned as they are.
func unwrap(tx nogap.Tx) nogap.Tx {
	if isTx(tx) {
		return tx
	}
	v := reflect.Indirect(reflect.ValueOf(tx))
	if v.Kind() != reflect.Struct || v.Type().PkgPath() != "gorm.io/gorm" {
		return tx
	}
	if field := v.FieldByName("Tx"); field.IsValid() && field.CanInterface() {
		if inner, ok := field.Interface().(nogap.Tx); ok {
			return inner
		}
	}
	return tx
}
