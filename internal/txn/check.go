package txn

import (
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
)

var errNilTx = errors.New("the transaction is nil")

// CheckTx returns an error if tx is no transaction, as far as its type tells: a nil, a pool, or a wrapper that changes
// the statements. Nothing is sent.
func CheckTx(tx nogap.Tx) error {
	if tx, ok := tx.(*sqlx.Tx); ok && tx != nil {
		return CheckTx(tx.Tx)
	}
	if tx, ok := tx.(*sql.Tx); ok && tx != nil {
		return nil
	}
	v := reflect.ValueOf(tx)
	switch v.Kind() {
	case reflect.Invalid:
		return errNilTx
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Slice, reflect.Chan:
		if v.IsNil() {
			return errNilTx
		}
	}
	t := reflect.Indirect(v).Type()
	_, commits := tx.(interface{ Commit() error })
	_, isDB := tx.(interface{ Stats() sql.DBStats })
	_, isGORM := tx.(interface{ GetDBConn() (*sql.DB, error) })
	switch {
	case (isDB || isGORM) && !commits:
		return fmt.Errorf("%T is a pool of connections and no transaction: begin one, and pass that", tx)
	case t.PkgPath() == "github.com/uptrace/bun":
		return fmt.Errorf("%T rewrites the placeholders of statements: pass the *sql.%s that it embeds, in its field %[2]s", tx, t.Name())
	}
	return nil
}
