package pessimistic

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fields"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// names are those of a table and of its columns that a call gives, some of them by the type of the rows.
type names struct {
	table               string
	keyColumns, columns []string
	row                 rowType
}

// rowType is the T of a call, and what knows the names of its fields.
type rowType struct {
	reflect.Type
	mapper *reflectx.Mapper
}

func rowTypeOf[T any](mapper *reflectx.Mapper) rowType { return rowType{reflect.TypeFor[T](), mapper} }

// key is the names in a form that is comparable: the columns are joined.
func (n names) key() tableKey {
	return tableKey{
		n.table, strings.Join(n.keyColumns, "\x00"), strings.Join(n.columns, "\x00"), len(n.keyColumns), len(n.columns), n.row,
	}
}

type tableKey struct {
	table               string
	keyColumns, columns string
	keys, reads         int // how many columns are joined
	row                 rowType
}

// in returns the table of db with these names, which does not know db itself.
func (n names) in(db *sql.DB) (*table.Table, *selects, error) {
	if db == nil {
		return nil, nil, errNoDB
	}
	return databaseOf(db).tables.Of(n.key(), func() (*table.Table, *selects, error) {
		return n.parse(func(o table.Options) (*table.Table, error) { return table.Bind(db, n.table, o) })
	})
}

// unbound returns the table with these names in a database that is not known.
func (n names) unbound() (*table.Table, *selects, error) {
	return n.parse(func(o table.Options) (*table.Table, error) { return table.Unbound(n.table, o) })
}

// ofTx returns the table in the database of tx. Unless tx is that of a callback around the call, nobody observes it.
func (n names) ofTx(ctx context.Context, tx nogap.Tx) (*table.Table, *selects, error) {
	if db, _, ours := holding.Known(ctx, tx); ours {
		return n.in(db)
	}
	db := txn.DBOf(tx)
	if db == nil {
		return n.unbound()
	}
	t, selects, err := n.in(db)
	if err != nil {
		return nil, nil, err
	}
	return t.Unobserved(), selects, nil
}

func (n names) parse(bind func(table.Options) (*table.Table, error)) (*table.Table, *selects, error) {
	keyColumns, err := dialect.Columns(n.keyColumns...)
	if err != nil {
		return nil, nil, err
	}
	columns, err := dialect.Columns(n.columns...)
	if err != nil {
		return nil, nil, err
	}
	t, err := bind(table.Options{Key: keyColumns, Classify: classify})
	if err != nil {
		return nil, nil, err
	}
	q := &selects{t: t, columns: columns}
	if isStruct(n.row.Type) {
		err = q.into(n.row)
	}
	return t, q, err
}

// selects are the statements that read and lock the rows of a table.
type selects struct {
	t       *table.Table
	columns []dialect.Ident // all if there are none
	// fields are those of a struct to which the columns go, in their order: an empty one is none.
	fields [][]int
	named  reflect.Type // the struct from which the columns have their names; nil if the caller has named them

	mu    sync.RWMutex
	built map[variant]*rowSelect
}

type variant struct {
	dialect nogap.Dialect
	clause  string
	key     bool
}

// rowSelect is the SELECT of one row. Its last columns are those of the key, as many as keys says.
type rowSelect struct {
	text   string
	before []any // the arguments of a condition that stands before that of the key
	keys   int
}

func (q *rowSelect) args(key []any) []any { return slices.Concat(q.before, key) }

// one returns the SELECT of one row with the clause that locks it. key says that the row's key is read, too, behind the
// other columns.
func (q *selects) one(s dialect.Server, t *table.Table, clause string, key bool) *rowSelect {
	v := variant{s.Dialect, clause, key}
	q.mu.RLock()
	st, ok := q.built[v]
	q.mu.RUnlock()
	if ok {
		return st
	}
	built := &rowSelect{text: s.Compile(q.from(s, t, key) + " WHERE " + s.Equals(t.Key, 1) + clause).Text}
	if key {
		built.keys = len(t.Key)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.built == nil {
		q.built = make(map[variant]*rowSelect)
	}
	q.built[v] = built
	return built
}

// oneWhere returns the SELECT of one row, if a condition holds for it that has the arguments args.
func (q *selects) oneWhere(s dialect.Server, t *table.Table, where string, args []any, clause string) *rowSelect {
	template := q.from(s, t, false) + dialect.Literal(condition(where)) + " AND " + s.Equals(t.Key, len(args)+1) + clause
	return &rowSelect{text: s.Compile(template).Text, before: args}
}

// into makes rows go to the fields of a struct. Its columns are read by their names: a column that is added to the table
// while the program runs changes nothing then, and one that is missing is an error.
func (q *selects) into(row rowType) error {
	all, err := fields.Of(row.Type, row.mapper)
	if err != nil {
		return err
	}
	given := q.columns
	if len(given) == 0 {
		q.named = row.Type
		for _, f := range all {
			q.columns, q.fields = append(q.columns, f.Name), append(q.fields, f.Index)
		}
		if len(all) == 0 {
			q.fields = [][]int{nil} // SELECT 1
		}
		return nil
	}
	q.fields = make([][]int, len(given))
	for _, f := range all {
		i := slices.IndexFunc(given, func(c dialect.Ident) bool { return c.String() == f.Name.String() })
		if i < 0 {
			return fmt.Errorf(`%v has a field for the column %q, which is not among Columns: tag it db:"-" if it is not to be read`,
				row.Type, f.Name)
		}
		q.fields[i] = f.Index
	}
	return nil
}

// keyOf returns the values of the key columns that were read into item, if it points to a struct that has them all.
func (q *selects) keyOf(item any, key []dialect.Ident) (values nogap.Key, ok bool) {
	if q.fields == nil {
		return nil, false
	}
	row := reflect.ValueOf(item).Elem()
	for _, k := range key {
		i := slices.IndexFunc(q.columns, func(c dialect.Ident) bool { return c.String() == k.String() })
		if i < 0 || len(q.fields[i]) == 0 {
			return nil, false
		}
		field, err := row.FieldByIndexErr(q.fields[i])
		if err != nil {
			return nil, false
		}
		values = append(values, field.Interface())
	}
	return values, true
}

// explain says where the name of a column comes from that the server does not know.
func (q *selects) explain(err error) error {
	return fields.Explain(err, q.t.Key, "KeyColumns", q.named)
}

// from returns the beginning of a SELECT, of the key columns, too, if key says so.
func (q *selects) from(s dialect.Server, t *table.Table, key bool) string {
	columns := "*"
	switch {
	case len(q.columns) > 0:
		columns = s.QuoteAll(q.columns)
	case q.named != nil:
		columns = "1" // a struct without fields wants nothing but the lock
	}
	if key {
		columns += ", " + s.QuoteAll(t.Key)
	}
	return "SELECT " + columns + " FROM " + s.Quote(t.Name)
}
