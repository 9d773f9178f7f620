package server

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nogap-go/nogap/internal/sqlerr"
)

// MaxRows is how many rows a table may have for Snapshot to read it.
const MaxRows = 10_000

// State is what stood in some tables.
type State struct{ Tables []Table }

// Table is a table with its rows.
type Table struct {
	Name    string
	Columns []Column
	// Key are the places of the primary key's columns in Columns; empty without one.
	Key []int
	// Rows are ordered by the key, or without one by all columns. A value is nil, an int64, a float64 that is a number, a bool, a
	// string or a time.Time in UTC, so two can be compared with ==. Bytes are a string.
	Rows [][]any
}

// Column is a column of a table.
type Column struct {
	Name string
	Type string // as the server calls it
	// Time: its values are times.
	Time bool
	// Counted: the server counts its values up (IDENTITY, serial, AUTO_INCREMENT, SQLite's INTEGER PRIMARY KEY).
	Counted bool
	// Made: its default is made by a function, such as a UUID, and it is not Counted.
	Made bool
}

// listed is a table as it stands in the catalog.
type listed struct {
	name         string // by which the Server's callers know it
	schema, bare string
	from         string // quoted
	columns      []Column
	key          []int
	// shape are the columns of which columns and key were asked.
	shape string
}

// Tables returns the names of all tables, in their order, but not those of the server itself. A table that is not found by its name
// alone, on PostgreSQL, has the name of its schema before it.
func (s *Server) Tables(ctx context.Context) ([]string, error) {
	if err := s.list(ctx); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(s.catalog))
	for name := range s.catalog {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (s *Server) list(ctx context.Context) error {
	rows, err := s.db.QueryContext(ctx, s.kind.tables())
	if err != nil {
		return fmt.Errorf("listing the tables: %w", err)
	}
	defer rows.Close()
	s.catalog = map[string]*listed{}
	for rows.Next() {
		var t listed
		var visible bool
		if err := rows.Scan(&t.schema, &t.bare, &visible); err != nil {
			return fmt.Errorf("listing the tables: %w", err)
		}
		t.name = t.bare
		if !visible {
			t.name = t.schema + "." + t.bare
		}
		t.from = s.quote(t.schema) + "." + s.quote(t.bare)
		s.catalog[t.name] = &t
	}
	return rows.Err()
}

// Columns returns the names of a table's columns.
func (s *Server) Columns(ctx context.Context, table string) (names []string, err error) {
	t, err := s.table(ctx, table)
	if err != nil {
		return nil, err
	}
	if t.columns == nil {
		err = s.describe(ctx, t, "")
	}
	for _, c := range t.columns {
		names = append(names, c.Name)
	}
	return names, err
}

func (s *Server) quote(name string) string {
	q := s.kind.quote()
	return q + strings.ReplaceAll(name, q, q+q) + q
}

// table returns a table by its name. Setup may have made it since the tables were listed.
func (s *Server) table(ctx context.Context, name string) (*listed, error) {
	if t := s.catalog[name]; t != nil {
		return t, nil
	}
	if err := s.list(ctx); err != nil {
		return nil, err
	}
	if t := s.catalog[name]; t != nil {
		return t, nil
	}
	return nil, fmt.Errorf("there is no table %q", name)
}

// Snapshot reads all rows of the tables. A table of more than MaxRows rows is an error. It reads table by table, so nobody may write
// meanwhile.
func (s *Server) Snapshot(ctx context.Context, tables []string) (State, error) {
	var state State
	for _, name := range tables {
		t, err := s.snapshot(ctx, name)
		if err != nil {
			return State{}, err
		}
		state.Tables = append(state.Tables, t)
	}
	return state, nil
}

func (s *Server) snapshot(ctx context.Context, name string) (Table, error) {
	t, err := s.table(ctx, name)
	if err != nil {
		return Table{}, err
	}
	shape, rows, err := s.rows(ctx, t)
	if sqlerr.Of(err).Has(sqlerr.Server) {
		// The driver, or SQLite, has kept what the table was before Setup made it anew.
		shape, rows, err = s.rows(ctx, t)
	}
	if err == nil && shape != t.shape {
		err = s.describe(ctx, t, shape)
	}
	if err != nil {
		return Table{}, fmt.Errorf("reading the table %s: %w", name, err)
	}
	order(rows, t.key)
	return Table{Name: name, Columns: t.columns, Key: t.key, Rows: rows}, nil
}

// rows reads the rows of a table. shape are the names and types of its columns.
func (s *Server) rows(ctx context.Context, t *listed) (shape string, all [][]any, err error) {
	rows, err := s.db.QueryContext(ctx, fmt.Sprintf("SELECT * FROM %s LIMIT %d", t.from, MaxRows+1))
	if err != nil {
		return "", nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return "", nil, err
	}
	for _, c := range types {
		shape += c.Name() + " " + c.DatabaseTypeName() + "\n"
	}
	for rows.Next() {
		if len(all) == MaxRows {
			return "", nil, fmt.Errorf("it has more than %d rows, which are too many to compare after each schedule: "+
				"let Setup leave less of them", MaxRows)
		}
		row, err := scanRow(rows, len(types))
		if err != nil {
			return "", nil, err
		}
		all = append(all, row)
	}
	return shape, all, rows.Err()
}

func scanRow(rows *sql.Rows, columns int) ([]any, error) {
	row, dest := make([]any, columns), make([]any, columns)
	for i := range row {
		dest[i] = &row[i]
	}
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	for i, v := range row {
		row[i] = comparable(v)
	}
	return row, nil
}

// comparable returns a driver's value as one that can be compared with ==.
func comparable(v any) any {
	switch v := v.(type) {
	case []byte:
		return string(v)
	case time.Time:
		return v.UTC().Round(0)
	case float32:
		return comparable(float64(v))
	case float64:
		if math.IsNaN(v) {
			return "NaN"
		}
	case uint64:
		if v <= math.MaxInt64 {
			return int64(v)
		}
		return fmt.Sprint(v)
	case nil, int64, bool, string:
	default:
		return fmt.Sprint(v)
	}
	return v
}

// describe asks what the columns of a table are.
func (s *Server) describe(ctx context.Context, t *listed, shape string) error {
	rows, err := s.db.QueryContext(ctx, s.kind.columns(t.schema, t.bare))
	if err != nil {
		return err
	}
	defer rows.Close()
	var columns []Column
	places := map[int]int{} // in the key, to places in columns
	for rows.Next() {
		var c Column
		var place int
		if err := rows.Scan(&c.Name, &c.Type, &place, &c.Counted, &c.Made); err != nil {
			return err
		}
		c.Time = isTime(c.Type)
		c.Made = c.Made && !c.Counted
		if place > 0 {
			places[place] = len(columns)
		}
		columns = append(columns, c)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var key []int
	for place := 1; place <= len(places); place++ {
		key = append(key, places[place])
	}
	t.columns, t.key, t.shape = columns, key, shape
	return nil
}

// isTime reports whether the values of a type are times: DATE, DATETIME, TIME, TIMESTAMP WITH TIME ZONE and so on, YEAR.
func isTime(columnType string) bool {
	name := strings.ToUpper(columnType)
	return strings.HasPrefix(name, "DATE") || strings.HasPrefix(name, "TIME") || strings.HasPrefix(name, "YEAR")
}

// order sorts rows by the columns of the key and then by all.
func order(rows [][]any, key []int) {
	slices.SortFunc(rows, func(a, b []any) int {
		for _, i := range key {
			if c := compare(a[i], b[i]); c != 0 {
				return c
			}
		}
		return slices.CompareFunc(a, b, compare)
	})
}

// compare orders values. Those of different types, which only SQLite has in one column, are ordered by their types.
func compare(a, b any) int {
	switch x := a.(type) {
	case int64:
		if y, ok := b.(int64); ok {
			return cmp.Compare(x, y)
		}
	case float64:
		if y, ok := b.(float64); ok {
			return cmp.Compare(x, y)
		}
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(x, y)
		}
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y)
		}
	}
	return cmp.Or(cmp.Compare(fmt.Sprintf("%T", a), fmt.Sprintf("%T", b)), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
}

// AdvanceSequences moves on what counts the columns of the tables up, so that the next values are others than those of any run before,
// also if Setup has made the tables anew. Each call moves further than the one before. What can't be moved stays as it is: the rowid
// of SQLite without AUTOINCREMENT, and what would leave the range of its type.
//
// On MySQL and MariaDB it alters the tables, for which no transaction may have them in use.
func (s *Server) AdvanceSequences(ctx context.Context, tables []string) error {
	s.advances++
	const step = 17
	for _, name := range tables {
		t, err := s.table(ctx, name)
		if err == nil {
			err = s.kind.advance(ctx, s.db, t, s.advances*step)
		}
		if err != nil {
			return fmt.Errorf("moving the sequences of the table %s: %w", name, err)
		}
	}
	return nil
}
