package effect_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/racetest/effect"
)

func TestParse(t *testing.T) {
	type names = []string
	for _, tt := range []struct {
		sql                  string
		reads, locks, writes names
		inserts              bool
	}{
		{sql: "SELECT stock FROM items WHERE id = $1", reads: names{"items"}},
		{sql: `select * from "Items" i, shop.orders as o join lines using (id) where x in (select y from z)`, reads: names{"items", "lines", "orders", "z"}},
		{sql: "SELECT 1"},
		{sql: "SELECT count(*), coalesce(max(n), 0) FROM t", reads: names{"t"}},
		{sql: "SELECT * FROM a LEFT JOIN b ON a.id = b.id FOR UPDATE", reads: names{"a", "b"}, locks: names{"a", "b"}},
		{sql: "SELECT * FROM a LOCK IN SHARE MODE", reads: names{"a"}, locks: names{"a"}},
		{sql: "SELECT * FROM jobs ORDER BY id FOR NO KEY UPDATE SKIP LOCKED", reads: names{"jobs"}, locks: names{"jobs"}},
		{sql: "SELECT a IS DISTINCT FROM b, extract(epoch FROM c) FROM t", reads: names{"t"}},
		{sql: "UPDATE items SET stock = stock - 1 WHERE id = ?", reads: names{"items"}, writes: names{"items"}},
		{sql: "UPDATE ONLY s.items AS i SET n = (SELECT count(*) FROM likes) FROM other o WHERE true", reads: names{"items", "likes", "other"}, writes: names{"items"}},
		{sql: "UPDATE a JOIN b ON a.id = b.id SET a.n = 1", reads: names{"a", "b"}, writes: names{"a", "b"}},
		{sql: "INSERT INTO likes (post, person) VALUES (?, now())", reads: names{"likes"}, writes: names{"likes"}, inserts: true},
		{sql: "INSERT INTO app.likes (post) SELECT id FROM posts ON CONFLICT (post) DO UPDATE SET n = likes.n + 1", reads: names{"likes", "posts"}, writes: names{"likes"}, inserts: true},
		{sql: "INSERT INTO n (id) VALUES (1) ON DUPLICATE KEY UPDATE v = VALUES(v) + 1", reads: names{"n"}, writes: names{"n"}, inserts: true},
		{sql: "INSERT OR IGNORE INTO n VALUES (1)", reads: names{"n"}, writes: names{"n"}, inserts: true},
		{sql: "REPLACE INTO n VALUES (1)", reads: names{"n"}, writes: names{"n"}, inserts: true},
		{sql: "DELETE FROM a USING b WHERE a.id = b.id RETURNING a.id", reads: names{"a", "b"}, writes: names{"a"}},
		{sql: "DELETE a FROM a JOIN b ON a.id = b.id", reads: names{"a", "b"}, writes: names{"a"}},
		{sql: "WITH old AS (DELETE FROM q WHERE id = 1 RETURNING *), x (y) AS (SELECT 1) INSERT INTO log SELECT * FROM old, x", reads: names{"log", "q"}, writes: names{"log", "q"}, inserts: true},
		{sql: "-- FROM a\nSELECT /* FROM b */ 'FROM c', $$FROM d$$, E'it\\'s FROM e' FROM f;", reads: names{"f"}},
		{sql: "SELECT x FROM generate_series(1, 3) x"},
		{sql: "SELECT * FROM (a JOIN b ON true), ((c AS x, LATERAL (SELECT 1) y)) LEFT JOIN (d, e) ON true", reads: names{"a", "b", "c", "d", "e"}},
		{sql: "SELECT * FROM (SELECT 1) x, (VALUES (1)) y, (WITH w AS (SELECT 1) SELECT * FROM w, a) z", reads: names{"a"}},
		{sql: "SELECT * FROM a STRAIGHT_JOIN b", reads: names{"a", "b"}},
		{sql: "SELECT * FROM (SELECT 1) x, a, unnest($1) AS u (id), ONLY (b), c JOIN d ON c.id = d.id, e USE INDEX (i), f WHERE x IN (1, 2)",
			reads: names{"a", "b", "c", "d", "e", "f"}},
		{sql: "INSERT INTO a SELECT * FROM b ON DUPLICATE KEY UPDATE n = 1, m = 2", reads: names{"a", "b"}, writes: names{"a"}, inserts: true},
		{sql: "SAVEPOINT a"},
		{sql: "SET LOCAL lock_timeout = '1s'"},
		{sql: "SELECT set_config('lock_timeout', $1, true)"},
		{sql: ""},
	} {
		a := effect.Dialect{}.Parse(tt.sql)
		require.False(t, a.Opaque, tt.sql)
		require.Equal(t, tt.reads, a.Reads.Names(), "reads of %s", tt.sql)
		require.Equal(t, tt.locks, a.Locks.Names(), "locks of %s", tt.sql)
		require.Equal(t, tt.writes, a.Writes.Names(), "writes of %s", tt.sql)
		require.Equal(t, tt.inserts, a.Inserts, tt.sql)
	}
}

// What may do more than it says conflicts with everything.
func TestOpaque(t *testing.T) {
	for _, sql := range []string{
		"SELECT pg_advisory_xact_lock(1)", "SELECT my_function(x) FROM t", `SELECT s."F"(1)`, "SELECT * FROM f(1)",
		"CALL p()", "DROP TABLE t", "CREATE TABLE t (id INT)", "TRUNCATE t", "LOCK TABLE t", "SELECT * INTO n FROM t",
		"UPDATE a SET n = 1; UPDATE b SET n = 1", "ROLLBACK TO SAVEPOINT a", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
		"EXPLAIN ANALYZE DELETE FROM t", "SELECT GET_LOCK('a', 1)", "nonsense",
		"INSERT items SET n = 1", "INSERT IGNORE items VALUES (1)", "REPLACE items VALUES (1)", // which MySQL takes without INTO
	} {
		a := effect.Dialect{}.Parse(sql)
		require.True(t, a.Opaque, sql)
		require.True(t, a.Reads.IsAll() && a.Writes.IsAll() && a.Locks.IsAll(), sql)
	}
}

func TestDialects(t *testing.T) {
	a := effect.Dialect{Backslash: true}.Parse(`SELECT 'it\'s FROM a', "FROM" # FROM b
		FROM c`)
	require.Equal(t, []string{"c"}, a.Reads.Names())
	a = effect.Dialect{LockingReads: true}.Parse("INSERT INTO a SELECT * FROM b")
	require.Equal(t, []string{"a", "b"}, a.Locks.Names())
	a = effect.Dialect{OneLock: true}.Parse("SELECT * FROM a")
	require.True(t, a.Reads.IsAll())
	require.True(t, a.Writes.Empty())
}

// A table that is not one of the database's may be a view, which may do anything. Foreign keys lock, and triggers do anything.
func TestTables(t *testing.T) {
	d := effect.Dialect{Tables: map[string]effect.Table{
		"orders": {Related: []string{"lines"}}, "lines": {Related: []string{"orders"}}, "audited": {Triggers: true}, "items": {},
	}}
	require.False(t, d.Parse("SELECT * FROM orders JOIN items ON true, information_schema.tables, pg_class").Opaque)
	require.False(t, d.Parse("SELECT * FROM audited").Opaque)
	require.False(t, d.Parse("WITH x AS (SELECT 1) SELECT * FROM x").Opaque)
	for _, sql := range []string{"SELECT * FROM a_view", "UPDATE audited SET n = 1", "INSERT INTO items SELECT * FROM a_view"} {
		require.True(t, d.Parse(sql).Opaque, sql)
	}
	require.Equal(t, []string{"lines", "orders"}, d.Parse("INSERT INTO lines VALUES (1)").Writes.Names())
	require.Equal(t, []string{"items"}, d.Parse("INSERT INTO items VALUES (1)").Writes.Names())
}

// A write goes on to the tables whose rows it changes or deletes with those of its own, and to their triggers.
func TestCascades(t *testing.T) {
	d := effect.Dialect{Tables: map[string]effect.Table{
		"customers": {Related: []string{"orders"}, Cascades: []string{"orders"}},
		"orders":    {Related: []string{"customers", "lines"}, Cascades: []string{"lines"}},
		"lines":     {Related: []string{"orders", "items"}},
		"items":     {Related: []string{"lines"}},
		"trees":     {Related: []string{"trees", "leaves"}, Cascades: []string{"trees", "leaves"}},
		"leaves":    {Related: []string{"trees"}, Triggers: true},
	}}
	require.Equal(t, []string{"customers", "items", "lines", "orders"}, d.Parse("DELETE FROM customers WHERE id = 1").Writes.Names())
	require.Equal(t, []string{"items", "lines"}, d.Parse("UPDATE items SET n = 1").Writes.Names())
	require.True(t, d.Parse("DELETE FROM trees").Opaque, "a trigger of another table")
	require.False(t, d.Parse("SELECT * FROM trees, leaves").Opaque)
}

func FuzzParse(f *testing.F) {
	f.Add("WITH a AS (SELECT 1) SELECT $1, $a$ b $a$, 'x' FROM [t] JOIN \"u\" ON true")
	f.Add("with as ( from")
	f.Fuzz(func(t *testing.T, sql string) {
		effect.Dialect{}.Parse(sql)
		effect.Dialect{Backslash: true, LockingReads: true}.Parse(sql)
	})
}
