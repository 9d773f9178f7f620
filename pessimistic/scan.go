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
	"github.com/nogap-go/nogap/internal/rowkey"
)

// scanAll runs a query of q's and reads its rows, each into a T of its own. The last columns of the query are those of the
// key, as many as keys says: stored has the text of each row's key as it is stored, if there are any.
func scanAll[T any](
	ctx context.Context, tx nogap.Tx, q *selects, keys int, query string, args []any,
) (items []*T, stored []string, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, nil, q.explain(err)
	}
	scanned := false
	defer func() {
		if scanned {
			rows.Close()
		} else {
			go rows.Close() // a panic in a Scan method leaves a lock of database/sql held, for which this may wait for ever
		}
	}()
	key := make([]any, keys)
	scan, err := scanner[T](rows, q, pointers(key))
	for err == nil && rows.Next() {
		item := new(T)
		err = scan(item)
		items = append(items, item)
		if keys > 0 {
			text, _ := rowkey.Text(key)
			stored = append(stored, text)
		}
	}
	scanned = true
	if err == nil {
		err = q.explain(rows.Err())
	}
	if err != nil {
		return nil, nil, err
	}
	return items, stored, rows.Close()
}

// mapperOf returns what knows the `db` tags: that of the transaction, if it has one, else sqlx's own.
func mapperOf(tx nogap.Tx) *reflectx.Mapper {
	if tx, ok := tx.(*sqlx.Tx); ok && tx.Mapper != nil {
		return tx.Mapper
	}
	return fields.Mapper()
}

// scanner returns what reads the current row into a T, and its last columns into key.
func scanner[T any](rows *sql.Rows, q *selects, key []any) (func(item *T) error, error) {
	t := reflect.TypeFor[T]()
	if isStruct(t) {
		return func(item *T) error {
			return rows.Scan(append(destinations(reflect.ValueOf(item).Elem(), q.fields), key...)...)
		}, nil
	}
	columns, err := rows.Columns()
	switch {
	case err != nil:
		return nil, err
	case isMap(t):
		names := withoutTable(columns, q.t.Name.Last())[:len(columns)-len(key)]
		return func(item *T) error {
			row, err := scanMap(rows, names, key)
			reflect.ValueOf(item).Elem().Set(reflect.ValueOf(row).Convert(t))
			return err
		}, nil
	case len(columns)-len(key) != 1:
		return nil, fmt.Errorf("a row of %d columns does not fit in %v: name the one to read in Columns", len(columns)-len(key), t)
	}
	return func(item *T) error { return rows.Scan(append([]any{item}, key...)...) }, nil
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

func scanMap(rows *sql.Rows, names []string, key []any) (map[string]any, error) {
	values := make([]any, len(names))
	row := make(map[string]any, len(names))
	err := rows.Scan(append(pointers(values), key...)...)
	for i, name := range names {
		row[name] = values[i]
	}
	return row, err
}

// pointers returns a pointer to each of the values.
func pointers(values []any) []any {
	dest := make([]any, len(values))
	for i := range values {
		dest[i] = &values[i]
	}
	return dest
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
