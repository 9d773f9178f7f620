//go:build unix

package anomalies_test

import (
	"context"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/optimistic"
)

// schema has a version for package optimistic, and a default for the members of atomic.Set.
const schema = "CREATE TABLE test (id INT PRIMARY KEY, value INT NOT NULL DEFAULT 30, version BIGINT NOT NULL DEFAULT 0)"

// steps are what the transactions of the scenarios do, in the words of one package.
type steps interface {
	value(ctx context.Context, id int) (int, error)
	// thirties counts the rows whose value is 30.
	thirties(ctx context.Context) (int, error)
	// set replaces a value that the scenario knows.
	set(ctx context.Context, id, from, to int) error
	// raise adds to a value. between is called after the value was read, if the program reads it.
	raise(ctx context.Context, id, n int, between func()) error
	// insert adds a row whose value is 30.
	insert(ctx context.Context, id int) error
}

// vocabulary makes the steps of a transaction, or of a pool if tx is nil: each step is a transaction of its own then.
type vocabulary func(tx *sqlx.Tx) steps

// bySQL are statements written by hand.
type bySQL struct {
	db sqlx.ExtContext
}

func inSQL(*testing.T, *sqlx.DB) vocabulary {
	return func(tx *sqlx.Tx) steps { return bySQL{tx} }
}

func (s bySQL) read(ctx context.Context, query string, args ...any) (n int, err error) {
	err = sqlx.GetContext(ctx, s.db, &n, s.rebind(query), args...)
	return n, err
}

func (s bySQL) write(ctx context.Context, query string, args ...any) error {
	_, err := s.db.ExecContext(ctx, s.rebind(query), args...)
	return err
}

func (s bySQL) rebind(query string) string {
	return sqlx.Rebind(sqlx.BindType(s.db.DriverName()), query)
}

func (s bySQL) value(ctx context.Context, id int) (int, error) {
	return s.read(ctx, "SELECT value FROM test WHERE id = ?", id)
}

func (s bySQL) thirties(ctx context.Context) (int, error) {
	return s.read(ctx, "SELECT count(*) FROM test WHERE value = 30")
}

func (s bySQL) set(ctx context.Context, id, _, to int) error {
	return s.write(ctx, "UPDATE test SET value = ? WHERE id = ?", to, id)
}

func (s bySQL) raise(ctx context.Context, id, n int, between func()) error {
	value, err := s.value(ctx, id)
	if err != nil {
		return err
	}
	between()
	return s.set(ctx, id, value, value+n)
}

func (s bySQL) insert(ctx context.Context, id int) error {
	return s.write(ctx, "INSERT INTO test (id, value) VALUES (?, 30)", id)
}

// byAtomic are the calls of package atomic. It has none for a condition, which is read by SQL.
type byAtomic struct {
	bySQL
	values *atomic.Counter[int]
	rows   *atomic.Set
}

func inAtomic(t *testing.T, db *sqlx.DB) vocabulary {
	values, err := atomic.NewCounter[int](db.DB, "test", "value")
	require.NoError(t, err)
	rows, err := atomic.NewSet(db.DB, "test", []string{"id"})
	require.NoError(t, err)
	return func(tx *sqlx.Tx) steps {
		if tx == nil {
			return byAtomic{bySQL{db}, values, rows}
		}
		return byAtomic{bySQL{tx}, values.WithTx(tx), rows.WithTx(tx)}
	}
}

func (s byAtomic) value(ctx context.Context, id int) (int, error) { return s.values.Get(ctx, id) }

func (s byAtomic) set(ctx context.Context, id, from, to int) error {
	return s.values.CompareAndSet(ctx, from, to, id)
}

func (s byAtomic) raise(ctx context.Context, id, n int, between func()) error {
	between()
	_, err := s.values.Increment(ctx, n, id)
	return err
}

func (s byAtomic) insert(ctx context.Context, id int) error {
	_, err := s.rows.Add(ctx, id)
	return err
}

// byOptimistic are the calls of package optimistic. It has none for a condition, which is read by SQL.
type byOptimistic struct {
	bySQL
	rows *optimistic.Table[testRow]
}

type testRow struct {
	ID      int `db:"id"`
	Value   int `db:"value"`
	Version int `db:"version"`
}

func inOptimistic(t *testing.T, db *sqlx.DB) vocabulary {
	rows, err := optimistic.NewTable[testRow](db.DB, "test")
	require.NoError(t, err)
	return func(tx *sqlx.Tx) steps {
		if tx == nil {
			return byOptimistic{bySQL{db}, rows}
		}
		return byOptimistic{bySQL{tx}, rows.WithTx(tx)}
	}
}

func (s byOptimistic) value(ctx context.Context, id int) (int, error) {
	row, err := s.rows.Get(ctx, id)
	if err != nil {
		return 0, err
	}
	return row.Value, nil
}

func (s byOptimistic) set(ctx context.Context, id, _, to int) error {
	return s.modify(ctx, id, func(row *testRow) { row.Value = to })
}

func (s byOptimistic) raise(ctx context.Context, id, n int, between func()) error {
	return s.modify(ctx, id, func(row *testRow) {
		between()
		row.Value += n
	})
}

func (s byOptimistic) modify(ctx context.Context, id int, change func(*testRow)) error {
	_, err := s.rows.Modify(ctx, func(row *testRow) error {
		change(row)
		return nil
	}, id)
	return err
}

func (s byOptimistic) insert(ctx context.Context, id int) error {
	return s.rows.Insert(ctx, &testRow{ID: id, Value: 30})
}
