package txn

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

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
	if !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("the transaction is nil")
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

// ProveTx returns an error if the statements of r, which In made of tx, are not in a transaction: locks would be lost at
// once, and half of several statements could stand. It costs two round trips, but nothing for the types whose name says
// it.
func ProveTx(ctx context.Context, tx nogap.Tx, s dialect.Server) error {
	switch unprepared(tx).(type) {
	case *sql.Tx, *sqlx.Tx:
		return nil
	}
	r := In(tx)
	if s.SavepointBegins {
		// BEGIN is refused inside a transaction, and harms nothing there.
		if _, err := r.Exec(ctx, "BEGIN"); err != nil {
			return ctx.Err()
		}
		_, err := r.Exec(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(fmt.Errorf("%T is in no transaction: begin one, and pass that", tx), err)
	}
	for _, statement := range []string{"SAVEPOINT nogap", "RELEASE SAVEPOINT nogap"} {
		if _, err := r.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%T seems to be in no transaction, since it refuses a savepoint: begin one, and pass that: %w", tx, err)
		}
	}
	return nil
}
