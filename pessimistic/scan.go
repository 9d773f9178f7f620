package pessimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

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
	defer rows.Close()
	scan, err := scanner[T](rows)
	if err != nil {
		return nil, err
	}
	var items []*T
	for rows.Next() {
		item := new(T)
		if err := scan(item); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return items, rows.Close()
}

// scanner returns what reads the current row into a T.
func scanner[T any](rows *sqlx.Rows) (func(*T) error, error) {
	t := reflect.TypeFor[T]()
	_, scans := any((*T)(nil)).(sql.Scanner)
	switch {
	case t.Kind() == reflect.Map && t.ConvertibleTo(reflect.TypeFor[map[string]any]()):
		return func(item *T) error {
			row := make(map[string]any)
			if err := rows.MapScan(row); err != nil {
				return err
			}
			reflect.ValueOf(item).Elem().Set(reflect.ValueOf(row).Convert(t))
			return nil
		}, nil
	case t.Kind() == reflect.Struct && !scans &&
		len(rows.Mapper.TypeMap(t).Index) > 0: // time.Time is a struct without fields to the mapper, so a scalar
		return func(item *T) error { return rows.StructScan(item) }, nil
	}
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	if len(columns) != 1 {
		return nil, fmt.Errorf("a row of %d columns does not fit in %v: %w", len(columns), t, errScalar)
	}
	return func(item *T) error { return rows.Scan(item) }, nil
}

var errScalar = errors.New("name the one to read in Columns")
