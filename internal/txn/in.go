package txn

import (
	"context"
	"database/sql"
	"reflect"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
)

// In returns the Runner whose statements are part of tx. Nothing is retried there, since only the owner of a
// transaction may run it again, and no outcome is unknown before its COMMIT.
func In(tx nogap.Tx) Runner { return inTx{unwrap(tx)} }

type inTx struct{ tx nogap.Tx }

func (t inTx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	res, err := t.tx.ExecContext(ctx, query, args...)
	return res, JoinContext(ctx, err)
}

func (t inTx) QueryRow(ctx context.Context, query string, args []any, dest ...any) error {
	return readRow(ctx, t.tx, query, args, dest)
}

func (t inTx) Read(ctx context.Context, query string, args []any, dest ...any) error {
	return readRow(ctx, t.tx, query, args, dest)
}

func (t inTx) ReadSession(ctx context.Context, query string, args []any, dest ...any) error {
	return readRow(ctx, t.tx, query, args, dest)
}

// Applied implements Runner: nothing stands before COMMIT.
func (t inTx) Applied(err error) error { return err }

// unwrap returns the transaction inside GORM's *PreparedStmtTX, which prepares every statement: MySQL refuses to prepare
// SAVEPOINT. Others are returned as they are.
func unwrap(tx nogap.Tx) nogap.Tx {
	switch tx.(type) {
	case *sql.Tx, *sqlx.Tx:
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
