package pessimistic

import (
	"database/sql"
	"strings"
	"sync"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// names are those of a table and of its columns that a call gives.
type names struct {
	table               string
	keyColumns, columns []string
}

// key is the names in a form that is comparable: the columns are joined.
func (n names) key() tableKey {
	return tableKey{n.table, strings.Join(n.keyColumns, "\x00"), strings.Join(n.columns, "\x00"), len(n.keyColumns), len(n.columns)}
}

type tableKey struct {
	table               string
	keyColumns, columns string
	keys, reads         int // how many columns are joined
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

// known returns the table with these names that remembers what tx's database has said of it: t if that is not known.
func (n names) known(tx nogap.Tx, t *table.Table) *table.Table {
	if db := txn.DBOf(tx); db != nil {
		if known, _, err := n.in(db); err == nil {
			return known
		}
	}
	return t
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
	return t, &selects{columns: columns}, err
}

// selects are the statements that read and lock the rows of a table.
type selects struct {
	columns []dialect.Ident // all if there are none

	mu    sync.RWMutex
	built map[variant]*dialect.Statement
}

type variant struct {
	dialect nogap.Dialect
	clause  string
}

// one returns the SELECT of one row with the clause that locks it.
func (q *selects) one(s dialect.Server, t *table.Table, clause string) *dialect.Statement {
	v := variant{s.Dialect, clause}
	q.mu.RLock()
	st, ok := q.built[v]
	q.mu.RUnlock()
	if ok {
		return st
	}
	compiled := s.Compile(q.from(s, t) + " WHERE " + s.Equals(t.Key, 1) + clause)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.built == nil {
		q.built = make(map[variant]*dialect.Statement)
	}
	q.built[v] = &compiled
	return &compiled
}

// from returns the beginning of a SELECT.
func (q *selects) from(s dialect.Server, t *table.Table) string {
	columns := "*"
	if len(q.columns) > 0 {
		columns = s.QuoteAll(q.columns)
	}
	return "SELECT " + columns + " FROM " + s.Quote(t.Name)
}
