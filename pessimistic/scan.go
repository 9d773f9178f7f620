package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"time"

	"github.com/jmoiron/sqlx"
)

// scanAll runs a query and reads its rows, each into a T of its own.
func scanAll[T any](ctx context.Context, tx *sqlx.Tx, query string, args []any) ([]*T, error) {
	// "Unsafe" is sqlx's word for ignoring the columns that the struct has no field for. It returns a copy: tx itself,
	// which the caller goes on with, stays as strict as it was.
	rows, err := tx.Unsafe().QueryxContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	scanned := false
	defer func() {
		if scanned {
			rows.Close()
		} else {
			go rows.Close() // a panic in a Scan method leaves a lock of database/sql held, for which this may wait for ever
		}
	}()
	var items []*T
	for err == nil && rows.Next() {
		item := new(T)
		err = scan(rows, item)
		items = append(items, item)
	}
	scanned = true
	if err == nil {
		err = rows.Err()
	}
	if err != nil {
		return nil, err
	}
	return items, rows.Close()
}

// scan reads the current row.
func scan[T any](rows *sqlx.Rows, item *T) error {
	t := reflect.TypeFor[T]()
	_, scans := any(item).(sql.Scanner)
	switch {
	case t.Kind() == reflect.Map && t.ConvertibleTo(reflect.TypeFor[map[string]any]()):
		row := make(map[string]any)
		if err := rows.MapScan(row); err != nil {
			return err
		}
		reflect.ValueOf(item).Elem().Set(reflect.ValueOf(row).Convert(t))
		return nil
	case t.Kind() == reflect.Struct && !scans && t != reflect.TypeFor[time.Time]():
		return rows.StructScan(item)
	}
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	if len(columns) != 1 {
		return fmt.Errorf("a row of %d columns does not fit in %v: name the one to read in Columns", len(columns), t)
	}
	return rows.Scan(item)
}
