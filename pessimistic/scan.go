package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap"
)

// scanAll runs a query and reads its rows, each into a T of its own.
func scanAll[T any](ctx context.Context, tx nogap.Tx, query string, args []any) ([]*T, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
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
	scan, err := scanner[T](rows, mapperOf(tx))
	for err == nil && rows.Next() {
		item := new(T)
		err = scan(item)
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

// mapperOf returns what knows the `db` tags: that of the transaction, if it has one, else sqlx's own.
func mapperOf(tx nogap.Tx) *reflectx.Mapper {
	if tx, ok := tx.(*sqlx.Tx); ok && tx.Mapper != nil {
		return tx.Mapper
	}
	return sqlx.NewDb(nil, "").Mapper
}

// scanner returns what reads the current row into a T.
func scanner[T any](rows *sql.Rows, mapper *reflectx.Mapper) (func(item *T) error, error) {
	t := reflect.TypeFor[T]()
	_, scans := any(new(T)).(sql.Scanner)
	columns, err := rows.Columns()
	switch {
	case err != nil:
		return nil, err
	case t.Kind() == reflect.Map && t.ConvertibleTo(reflect.TypeFor[map[string]any]()):
		return func(item *T) error {
			row := make(map[string]any)
			err := sqlx.MapScan(rows, row)
			reflect.ValueOf(item).Elem().Set(reflect.ValueOf(row).Convert(t))
			return err
		}, nil
	case t.Kind() == reflect.Struct && !scans && t != reflect.TypeFor[time.Time]():
		fields := mapper.TraversalsByName(t, columns)
		return func(item *T) error { return rows.Scan(destinations(reflect.ValueOf(item).Elem(), fields)...) }, nil
	case len(columns) != 1:
		return nil, fmt.Errorf("a row of %d columns does not fit in %v: name the one to read in Columns", len(columns), t)
	}
	return func(item *T) error { return rows.Scan(item) }, nil
}

// destinations returns where the columns go: to the fields of a struct, and nowhere if it has no field for one.
func destinations(v reflect.Value, fields [][]int) []any {
	dest := make([]any, len(fields))
	for i, field := range fields {
		if len(field) == 0 {
			dest[i] = new(any)
		} else {
			dest[i] = reflectx.FieldByIndexes(v, field).Addr().Interface()
		}
	}
	return dest
}
