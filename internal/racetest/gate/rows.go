package gate

import (
	"database/sql/driver"
	"io"
	"reflect"
	"slices"
)

// replay is the rows of a query, read to their end.
type replay struct {
	sets []*set // one at least
	// closed is what the driver said when its rows were closed.
	closed error
	// stops tells that the driver, when rows are closed before their end, does not read on, and so does not find the error that may
	// follow.
	stops bool
	at    int // the set that is being read
}

// set is a result set.
type set struct {
	columns []string
	rows    [][]driver.Value
	// types are those of the columns, before the first row and with each row: SQLite's values have types of their own.
	types [][]columnType
	// err is the error that came after the last row; nil at the end of the set. found tells that the caller has been given it.
	err   error
	found bool
	read  int
}

// columnType is what a driver tells of a column.
type columnType struct {
	scan             reflect.Type // to scan into
	name             string
	length           int64
	hasLength        bool
	nullable, known  bool
	precision, scale int64
	decimal          bool
}

// drain reads all rows, and closes them.
func drain(rows driver.Rows) *replay {
	r := &replay{}
	more, isMore := rows.(driver.RowsNextResultSet)
	for {
		s := drainSet(rows)
		r.sets = append(r.sets, s)
		if s.err != nil || !isMore || !more.HasNextResultSet() {
			break
		}
		if err := more.NextResultSet(); err != nil {
			r.sets = append(r.sets, &set{err: err})
			break
		}
	}
	r.closed = rows.Close()
	return r
}

func drainSet(rows driver.Rows) *set {
	s := &set{columns: slices.Clone(rows.Columns())}
	s.addTypes(rows)
	for {
		row := make([]driver.Value, len(s.columns))
		if err := rows.Next(row); err != nil {
			if err != io.EOF {
				s.err = err
			}
			return s
		}
		for i, v := range row {
			if b, ok := v.([]byte); ok {
				row[i] = slices.Clone(b) // the driver's until the next row
			}
		}
		s.rows = append(s.rows, row)
		s.addTypes(rows)
	}
}

// addTypes keeps the types that the columns have now, which with most drivers are the same for all rows.
func (s *set) addTypes(rows driver.Rows) {
	types := make([]columnType, len(s.columns))
	for i := range types {
		types[i] = columnTypeOf(rows, i)
	}
	if n := len(s.types); n > 0 && slices.Equal(s.types[n-1], types) {
		types = s.types[n-1]
	}
	s.types = append(s.types, types)
}

// columnTypeOf returns what a driver tells of a column, and what database/sql says where it does not.
func columnTypeOf(rows driver.Rows, i int) columnType {
	t := columnType{scan: reflect.TypeFor[any]()}
	if r, ok := rows.(driver.RowsColumnTypeScanType); ok {
		t.scan = r.ColumnTypeScanType(i)
	}
	if r, ok := rows.(driver.RowsColumnTypeDatabaseTypeName); ok {
		t.name = r.ColumnTypeDatabaseTypeName(i)
	}
	if r, ok := rows.(driver.RowsColumnTypeLength); ok {
		t.length, t.hasLength = r.ColumnTypeLength(i)
	}
	if r, ok := rows.(driver.RowsColumnTypeNullable); ok {
		t.nullable, t.known = r.ColumnTypeNullable(i)
	}
	if r, ok := rows.(driver.RowsColumnTypePrecisionScale); ok {
		t.precision, t.scale, t.decimal = r.ColumnTypePrecisionScale(i)
	}
	return t
}

// err returns the error that came after some of the rows.
func (r *replay) err() error {
	return r.sets[len(r.sets)-1].err
}

func (r *replay) current() *set { return r.sets[r.at] }

func (r *replay) Columns() []string { return r.current().columns }

func (r *replay) Next(dest []driver.Value) error {
	s := r.current()
	if s.read < len(s.rows) {
		copy(dest, s.rows[s.read])
		s.read++
		return nil
	}
	s.found = true
	if s.err != nil {
		return s.err
	}
	return io.EOF
}

func (r *replay) HasNextResultSet() bool { return r.at+1 < len(r.sets) }

func (r *replay) NextResultSet() error {
	s := r.current()
	switch {
	case s.err != nil:
		s.found = true
		return s.err
	case !r.HasNextResultSet():
		return io.EOF
	}
	r.at++
	if next := r.current(); next.columns == nil && next.err != nil {
		next.found = true
		return next.err
	}
	return nil
}

// Close returns what the driver would have returned. One whose server sends all rows without being asked reads them even if nobody
// wants them, and finds the error that follows.
func (r *replay) Close() error {
	last := r.sets[len(r.sets)-1]
	switch {
	case last.err == nil || last.found || !r.stops && r.closed != nil:
		return r.closed
	case r.stops:
		return nil
	}
	return last.err
}

func (r *replay) columnType(i int) columnType {
	s := r.current()
	return s.types[s.read][i]
}

func (r *replay) ColumnTypeScanType(i int) reflect.Type { return r.columnType(i).scan }

func (r *replay) ColumnTypeDatabaseTypeName(i int) string { return r.columnType(i).name }

func (r *replay) ColumnTypeLength(i int) (int64, bool) {
	t := r.columnType(i)
	return t.length, t.hasLength
}

func (r *replay) ColumnTypeNullable(i int) (nullable, ok bool) {
	t := r.columnType(i)
	return t.nullable, t.known
}

func (r *replay) ColumnTypePrecisionScale(i int) (precision, scale int64, ok bool) {
	t := r.columnType(i)
	return t.precision, t.scale, t.decimal
}
