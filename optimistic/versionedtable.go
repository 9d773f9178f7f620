package optimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fields"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// versionedTable is the part of a Table that does not depend on T: a bound table whose rows have a version.
type versionedTable struct {
	*table.Table
	row       reflect.Type // T
	columns   mapping
	kind      versionKind
	lockAfter int
	// batches says that several writes may be made by one, which counts an integer version up by as many.
	batches bool
	// The SQL and the queue are shared with the copies that are bound to transactions.
	sql       *table.SQL[statements]
	insertSQL *table.SQL[insertSQL]
	queue     *rowQueue
}

func bind(db *sql.DB, name string, row reflect.Type, opts []Option) (*versionedTable, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	bound, err := table.Bind(db, name, o.Options)
	if err != nil {
		return nil, err
	}
	t := &versionedTable{Table: bound, row: row, lockAfter: o.lockAfter, sql: new(table.SQL[statements]), insertSQL: new(table.SQL[insertSQL]), queue: new(rowQueue)}
	if t.columns, err = newMapping(row, t.Key, o.version, o.readOnly); err != nil {
		return nil, t.failed(err)
	}
	if t.kind, err = kindOf(t.columns.version); err != nil {
		return nil, t.failed(err)
	}
	if t.kind == timestampVersion {
		t.Version, t.Times = &t.columns.version.Name, true
	}
	if t.kind == xminVersion && len(t.columns.data) == 0 {
		return nil, t.failed(fmt.Errorf("%v has no column to write", row))
	}
	return t, nil
}

// in returns the table whose statements are part of tx.
func (t *versionedTable) in(tx nogap.Tx) *versionedTable {
	inTx := *t
	inTx.Table = t.In(tx)
	return &inTx
}

// inBatches returns the table for a Coalescer, whose first look asks more.
func (t *versionedTable) inBatches() *versionedTable {
	ours, bound := *t, *t.Table
	ours.Table, ours.batches, ours.sql = &bound, true, new(table.SQL[statements])
	if t.kind == integerVersion {
		bound.Version = &t.columns.version.Name
	}
	return &ours
}

// statements returns the table's SQL, which is built when the first call knows the server.
func (t *versionedTable) statements(ctx context.Context) (*statements, error) {
	s, err := t.sql.Of(ctx, t.Table, t.build)
	if err != nil && !errors.As(err, new(*table.Obstacle)) { // which names the table
		err = t.failed(err)
	}
	return s, err
}

func (t *versionedTable) build(_ context.Context, _ txn.Runner, s dialect.Server, look dialect.Look) (*statements, error) {
	if err := t.CheckWritten(look, dialect.Update); err != nil {
		return nil, err
	}
	if err := checkVersion(s, look, t.columns.version.Name, t.kind); err != nil {
		return nil, err
	}
	if t.batches && t.kind == integerVersion && s.IsNarrow(look.Type) {
		return nil, fmt.Errorf("the version column %q is %s, which many writes a second use up soon: Coalesce needs an integer of 64 "+
			"bits, such as BIGINT", t.columns.version.Name, look.Type)
	}
	q, err := newStatements(s, t.Name, t.columns, t.kind)
	if err == nil {
		q.noDelete = t.CheckWritten(look, dialect.Delete)
		q.mayMiscount = t.kind == integerVersion && look.Rewrites
	}
	return q, err
}

// load reads the row with a key into item.
func (t *versionedTable) load(ctx context.Context, r txn.Runner, query dialect.Statement, key []any, item reflect.Value) error {
	dest := make([]any, len(t.columns.all))
	for i, c := range t.columns.all {
		dest[i] = c.Pointer(item)
	}
	return r.Read(ctx, query.Text, query.Args(key), dest...)
}

// at says which row an error is about, unless the error says so itself.
func (t *versionedTable) at(key []any, err error) error {
	if err == nil || isPlaced(err) {
		return err
	}
	return &placedError{fmt.Sprintf("%s at %v", t.Name, displayedKey(key)), fields.Explain(err, t.Key, "WithKey", t.row)}
}

// failed names the table that an error is about.
func (t *versionedTable) failed(err error) error { return fmt.Errorf("%s: %w", t.Name, err) }

func (t *versionedTable) nilItem() error { return t.failed(errors.New("the item is nil")) }
