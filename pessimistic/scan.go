package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fields"
)

// scanAll runs a query of q's and reads its rows, each into a T of its own.
func scanAll[T any](ctx context.Context, tx nogap.Tx, q *selects, query string, args []any) ([]*T, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, q.explain(err)
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
	scan, err := scanner[T](rows, q)
	for err == nil && rows.Next() {
		item := new(T)
		err = scan(item)
		items = append(items, item)
	}
	scanned = true
	if err == nil {
		err = q.explain(rows.Err())
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
	return fields.Mapper()
}

// scanner returns what reads the current row into a T.
func scanner[T any](rows *sql.Rows, q *selects) (func(item *T) error, error) {
	t := reflect.TypeFor[T]()
	if isStruct(t) {
		return func(item *T) error { return rows.Scan(destinations(reflect.ValueOf(item).Elem(), q.fields)...) }, nil
	}
	columns, err := rows.Columns()
	switch {
	case err != nil:
		return nil, err
	case isMap(t):
		names := withoutTable(columns, q.table)
		return func(item *T) error {
			row, err := scanMap(rows, names)
			reflect.ValueOf(item).Elem().Set(reflect.ValueOf(row).Convert(t))
			return err
		}, nil
	case len(columns) != 1:
		return nil, fmt.Errorf("a row of %d columns does not fit in %v: name the one to read in Columns", len(columns), t)
	}
	return func(item *T) error { return rows.Scan(item) }, nil
}

// isStruct reports whether a row's columns go to the fields of a T.
func isStruct(t reflect.Type) bool { return t.Kind() == reflect.Struct && !fields.IsScalar(t) }

func isMap(t reflect.Type) bool {
	return t.Kind() == reflect.Map && t.ConvertibleTo(reflect.TypeFor[map[string]any]())
}

// withoutTable returns the names of the columns of a table. go-sql-driver puts the table's name before them if it is told
// so, by columnsWithAlias.
func withoutTable(columns []string, table string) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		name, prefixed := strings.CutPrefix(c, table+".")
		if !prefixed {
			return columns
		}
		names[i] = name
	}
	return names
}

func scanMap(rows *sql.Rows, names []string) (map[string]any, error) {
	values, dest := make([]any, len(names)), make([]any, len(names))
	for i := range dest {
		dest[i] = &values[i]
	}
	row := make(map[string]any, len(names))
	err := rows.Scan(dest...)
	for i, name := range names {
		row[name] = values[i]
	}
	return row, err
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
