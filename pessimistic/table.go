package pessimistic

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

// table is what Row and Rows say of a table, validated, and the statements made of it.
type table struct {
	ident      dialect.Ident
	columns    []dialect.Ident
	keyColumns []dialect.Ident
	name       string // with the key columns

	mu         sync.RWMutex
	statements map[variant]dialect.Statement
}

// shape names a table: its columns are joined.
type shape struct {
	table               string
	keyColumns, columns string
	keys, reads         int // how many columns are joined
}

type variant struct {
	dialect nogap.Dialect
	clause  string
}

// tables holds the table of each shape, since taking the names apart costs more than all else that a call does on its
// own. A program has as many shapes as it has calls in its source; one that makes its names up goes without from
// maxTables on. They are plain maps because a sync.Map would put each key that is looked up on the heap.
var tables = struct {
	sync.RWMutex
	m map[shape]*table
}{m: make(map[shape]*table)}

const maxTables = 1000

func tableOf(name string, keyColumns, columns []string) (*table, error) {
	s := shape{name, strings.Join(keyColumns, "\x00"), strings.Join(columns, "\x00"), len(keyColumns), len(columns)}
	tables.RLock()
	t, ok := tables.m[s]
	tables.RUnlock()
	if ok {
		return t, nil
	}
	t, err := newTable(name, keyColumns, columns)
	if err != nil {
		return nil, err
	}
	tables.Lock()
	defer tables.Unlock()
	if len(tables.m) < maxTables {
		tables.m[s] = t
	}
	return t, nil
}

func newTable(name string, keyColumns, columns []string) (*table, error) {
	if len(keyColumns) == 0 {
		keyColumns = []string{"id"}
	}
	t := &table{name: name + "(" + strings.Join(keyColumns, ",") + ")", statements: make(map[variant]dialect.Statement)}
	var err error
	if t.ident, err = dialect.Table(name); err != nil {
		return nil, err
	}
	if t.keyColumns, err = dialect.Columns(keyColumns...); err != nil {
		return nil, err
	}
	if t.columns, err = dialect.Columns(columns...); err != nil {
		return nil, err
	}
	return t, nil
}

// statement returns the SELECT of one row with the clause that locks it.
func (t *table) statement(s dialect.Server, clause string) dialect.Statement {
	v := variant{s.Dialect, clause}
	t.mu.RLock()
	st, ok := t.statements[v]
	t.mu.RUnlock()
	if ok {
		return st
	}
	columns := "*"
	if len(t.columns) > 0 {
		columns = s.QuoteAll(t.columns)
	}
	st = s.Compile("SELECT " + columns + " FROM " + s.Quote(t.ident) + " WHERE " + s.Equals(t.keyColumns, 1) + clause)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.statements[v] = st
	return st
}

// key validates a key of the table.
func (t *table) key(v any) (key, error) {
	k, err := newKey(v, len(t.keyColumns))
	if err != nil {
		return key{}, fmt.Errorf("%s: %w", t.name, err)
	}
	return k, nil
}

// keys validates several, and returns them in the caller's order, and each once in the order in which to lock them.
func (t *table) keys(values []any) (asked, sorted []key, err error) {
	if len(values) == 0 {
		return nil, nil, fmt.Errorf("no keys of %s", t.name)
	}
	for _, v := range values {
		k, err := t.key(v)
		if err != nil {
			return nil, nil, err
		}
		asked = append(asked, k)
	}
	sorted = slices.Clone(asked)
	slices.SortFunc(sorted, compareKeys)
	sorted = slices.CompactFunc(sorted, func(a, b key) bool { return a.text == b.text })
	return asked, sorted, nil
}

func (t *table) lock(k key) lock { return lock{lockID{t.name, k.text}, k.values} }
