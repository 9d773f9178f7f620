//go:build unix

package look_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
)

// What is no plain table and keeps the promises is not refused.
func TestOtherTablesWork(t *testing.T) {
	postgres, mariadb, sqlite := matrix.Postgres(), matrix.MariaDB()[:1], matrix.SQLite()
	for name, c := range map[string]struct {
		targets  []matrix.Target
		create   []string // nil is a plain table
		relation string
		noAdd    bool // ON CONFLICT needs an index of its own
	}{
		"view of PostgreSQL": {postgres, []string{"CREATE VIEW shown AS SELECT * FROM items WHERE id < 100 WITH CHECK OPTION",
			"CREATE VIEW outermost AS SELECT id, stock, status, version FROM shown"}, "outermost", false},
		"unlogged table": {postgres, []string{"ALTER TABLE items SET UNLOGGED"}, "items", false},
		"table with a DO ALSO rule": {postgres, []string{"CREATE TABLE changes (id BIGINT)",
			"CREATE RULE noted AS ON DELETE TO items DO ALSO INSERT INTO changes VALUES (OLD.id)"}, "items", false},
		"rule that is off": {postgres, []string{"CREATE RULE nothing AS ON DELETE TO items DO INSTEAD NOTHING",
			"ALTER TABLE items DISABLE RULE nothing"}, "items", false},
		"view with a WITH in its condition": {postgres, []string{"CREATE VIEW shown AS SELECT * FROM items WHERE id IN (WITH x AS (SELECT 1 AS id UNION SELECT * FROM generate_series(2, 9)) SELECT id FROM x)"}, "shown", false},
		"view of MariaDB":                   {mariadb, []string{"CREATE VIEW shown AS SELECT * FROM items"}, "shown", true},
		"system-versioned table":            {mariadb, []string{"ALTER TABLE items ADD SYSTEM VERSIONING"}, "items", false},
		"partitions of MariaDB":             {mariadb, []string{"ALTER TABLE items PARTITION BY HASH (id) PARTITIONS 4"}, "items", false},
		"table of SQLite":                   {sqlite, []string{"CREATE VIEW shown AS SELECT * FROM items"}, "main.items", false},
	} {
		t.Run(name, func(t *testing.T) {
			matrix.Run(t, c.targets, func(t *testing.T, target matrix.Target) {
				dsn := fresh(t, target, c.create...)
				each(t, target, dsn, c.relation, func(o operation, err error, _, after [3]any) {
					if o.name == "Add" && c.noAdd {
						return
					}
					require.NoError(t, err, o.name)
					require.Equal(t, o.want, after, o.name)
				})
				if target.Dialect != nogap.SQLite { // on which nobody else could be seen to wait for as little
					require.NoError(t, lockRow(t, target, dsn, c.relation))
				}
			})
		})
	}
}

// lockRow locks row 2 of a relation, and returns an error unless the row of the table items is locked then.
func lockRow(t *testing.T, target matrix.Target, dsn, relation string) error {
	t.Helper()
	limit := "lock_timeout=300"
	if target.Dialect != nogap.Postgres {
		limit = "innodb_lock_wait_timeout=1"
	}
	other := target.Connect(t, with(dsn, limit))
	return pessimistic.WithRowLock(t.Context(), target.Connect(t, dsn), pessimistic.Row{Table: relation, Key: 2},
		func(ctx context.Context, _ *sqlx.Tx, _ *item) error {
			_, err := other.ExecContext(ctx, "UPDATE items SET stock = stock - 1 WHERE id = 2")
			switch {
			case err == nil:
				return fmt.Errorf("%s: the row was not locked", relation)
			case strings.Contains(err.Error(), "due to lock timeout"), strings.Contains(err.Error(), "Lock wait timeout exceeded"):
				return nil
			default:
				return err
			}
		})
}

// A view whose rows are computed first locks none of a table's.
func TestViewThatLocksNothing(t *testing.T) {
	for name, c := range map[string]struct {
		targets []matrix.Target
		view    string
		locks   bool
	}{
		"WITH":             {matrix.Postgres()[:1], "CREATE VIEW shown AS WITH x AS MATERIALIZED (SELECT * FROM items) SELECT * FROM x", false},
		"WITH inlined":     {matrix.Postgres()[:1], "CREATE VIEW shown AS WITH x AS (SELECT * FROM items) SELECT * FROM x", false},
		"function":         {matrix.Postgres()[:1], "CREATE FUNCTION f() RETURNS SETOF items LANGUAGE sql AS 'SELECT * FROM items'; CREATE VIEW shown AS SELECT * FROM f()", false},
		"GROUP BY":         {matrix.Postgres()[:1], "CREATE VIEW shown AS SELECT id, min(stock) AS stock, min(status) AS status, min(version) AS version FROM items GROUP BY id", false},
		"UNION":            {matrix.Postgres()[:1], "CREATE VIEW shown AS SELECT * FROM items UNION SELECT * FROM items", false},
		"DISTINCT":         {matrix.Postgres()[:1], "CREATE VIEW shown AS SELECT DISTINCT * FROM items", false},
		"materialized":     {matrix.Postgres()[:1], "CREATE MATERIALIZED VIEW shown AS SELECT * FROM items", false},
		"LIMIT":            {matrix.Postgres()[:1], "CREATE VIEW shown AS SELECT * FROM items ORDER BY id LIMIT 3", true},
		"join":             {matrix.Postgres()[:1], "CREATE VIEW shown AS SELECT a.* FROM items a JOIN items b ON a.id = b.id", true},
		"lateral":          {matrix.Postgres()[:1], "CREATE VIEW shown AS SELECT a.id, b.stock, a.status, a.version FROM items a CROSS JOIN LATERAL (SELECT min(stock) AS stock FROM items b WHERE b.id = a.id) b", false},
		"TEMPTABLE":        {mysqls(), "CREATE ALGORITHM=TEMPTABLE VIEW shown AS SELECT * FROM items", false},
		"mysql GROUP BY":   {mysqls(), "CREATE VIEW shown AS SELECT id, min(stock) AS stock, min(status) AS status, min(version) AS version FROM items GROUP BY id", false},
		"mysql DISTINCT":   {mysqls(), "CREATE VIEW shown AS SELECT DISTINCT * FROM items", false},
		"mysql UNION":      {mysqls(), "CREATE VIEW shown AS SELECT * FROM items UNION ALL SELECT * FROM items WHERE id > 100", false},
		"mysql LIMIT":      {mysqls(), "CREATE VIEW shown AS SELECT * FROM items ORDER BY id LIMIT 3", false},
		"mysql join":       {mysqls(), "CREATE VIEW shown AS SELECT a.* FROM items a JOIN items b ON a.id = b.id", true},
		"mysql expression": {mysqls(), "CREATE VIEW shown AS SELECT id, stock + 1 AS stock, status, version FROM items a", true},
	} {
		t.Run(name, func(t *testing.T) {
			matrix.Run(t, c.targets, func(t *testing.T, target matrix.Target) {
				dsn := fresh(t, target, c.view)
				err := lockRow(t, target, dsn, "shown")
				t.Logf("%v", err)
				if c.locks {
					require.NoError(t, err)
				} else {
					require.Error(t, err)
					require.NotContains(t, err.Error(), "the row was not locked")
				}
			})
		})
	}
}

// A row that moves to another partition is written once, and its lock moves with it.
func TestRowThatMoves(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		exec(t, db, `CREATE TABLE items (id BIGINT NOT NULL, stock BIGINT NOT NULL, status VARCHAR(20) NOT NULL, version BIGINT NOT NULL,
			UNIQUE (id, status)) PARTITION BY LIST (status)`,
			"CREATE TABLE items_new PARTITION OF items FOR VALUES IN ('new')", "CREATE TABLE items_paid PARTITION OF items FOR VALUES IN ('paid')",
			"INSERT INTO items VALUES "+rows)
		status, err := atomic.NewState[string](db, "items", "status")
		require.NoError(t, err)
		won := make(chan error, 8)
		for range cap(won) {
			go func() { won <- status.Transition(t.Context(), "new", "paid", 1) }()
		}
		winners := 0
		for range cap(won) {
			if err := <-won; err == nil {
				winners++
			} else {
				require.ErrorIs(t, err, atomic.ErrMismatch)
			}
		}
		require.Equal(t, 1, winners)
		items, err := optimistic.NewTable[item](target.Connect(t, dsn), "items")
		require.NoError(t, err)
		_, err = items.Modify(t.Context(), func(it *item) error { it.Status = "paid"; return nil }, 2)
		require.NoError(t, err)
		require.Equal(t, [3]any{int64(10), "paid", int64(1)}, held(t, db, "items", 2))
		require.NoError(t, lockRow(t, target, dsn, "items"))
	})
}

// A foreign table is written where it is.
func TestForeignTable(t *testing.T) {
	matrix.Run(t, matrix.Postgres()[:1], func(t *testing.T, target matrix.Target) {
		dsn := fresh(t, target)
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		password, _ := u.User.Password()
		exec(t, target.Connect(t, dsn), "CREATE EXTENSION postgres_fdw",
			fmt.Sprintf("CREATE SERVER here FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '%s', port '%s', dbname '%s')", u.Hostname(), u.Port(), u.Path[1:]),
			fmt.Sprintf("CREATE USER MAPPING FOR CURRENT_USER SERVER here OPTIONS (user '%s', password '%s')", u.User.Username(), password),
			"CREATE FOREIGN TABLE far (id BIGINT, stock BIGINT, status VARCHAR(20), version BIGINT) SERVER here OPTIONS (table_name 'items')")
		each(t, target, dsn, "far", func(o operation, err error, _, after [3]any) {
			if o.name == "Add" { // ON CONFLICT needs an index, which a foreign table does not have
				require.ErrorIs(t, err, atomic.ErrNoUniqueIndex)
				return
			}
			require.NoError(t, err, o.name)
			require.Equal(t, o.want, after, o.name)
		})
		require.NoError(t, lockRow(t, target, dsn, "far"))
	})
}
