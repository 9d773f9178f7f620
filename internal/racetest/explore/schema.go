package explore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/racetest/effect"
)

// foreignKeys, cascades and triggers are what effects depend on of the tables, by server. SQLite has one lock for all, so that nothing depends on them.
// What the server does not tell for lack of rights is not known.
var (
	foreignKeys = map[dialect.Product]string{
		dialect.PostgreSQL: "SELECT c.relname, p.relname FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid " +
			"JOIN pg_class AS p ON p.oid = k.confrelid WHERE k.contype = 'f'",
		dialect.MySQL:   innodbKeys,
		dialect.MariaDB: innodbKeys,
	}
	cascades = map[dialect.Product]string{
		dialect.PostgreSQL: "SELECT p.relname, c.relname FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid " +
			"JOIN pg_class AS p ON p.oid = k.confrelid WHERE k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))",
		dialect.MySQL:   innodbCascades,
		dialect.MariaDB: innodbCascades,
	}
	triggers = map[dialect.Product]string{
		dialect.PostgreSQL: "SELECT DISTINCT c.relname, c.relname FROM pg_class AS c WHERE EXISTS (SELECT 1 FROM pg_trigger AS t " +
			"WHERE t.tgrelid = c.oid AND NOT t.tgisinternal) OR EXISTS (SELECT 1 FROM pg_rewrite AS r WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN')",
		dialect.MySQL:   innodbTriggers,
		dialect.MariaDB: innodbTriggers,
	}
)

// heirs are the tables whose rows are those of other tables too, which inherit from them, but no partitions.
var heirs = map[dialect.Product]string{
	dialect.PostgreSQL: "SELECT DISTINCT p.relname, p.relname FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhparent WHERE p.relkind = 'r'",
}

const (
	innodbKeys     = "SELECT TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME IS NOT NULL"
	innodbCascades = "SELECT REFERENCED_TABLE_NAME, TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() " +
		"AND (DELETE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT') OR UPDATE_RULE IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))"
	innodbTriggers = "SELECT EVENT_OBJECT_TABLE, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = DATABASE()"
)

// schema tells the player what the tables bring along: foreign keys and triggers.
func (h *harness) schema(ctx context.Context, names []string) error {
	if h.player.Dialect.OneLock {
		return nil
	}
	tables := map[string]effect.Table{}
	for _, name := range names {
		tables[short(name)] = effect.Table{}
	}
	err := h.pairs(ctx, foreignKeys[h.server.Product], func(child, parent string) {
		for _, pair := range [][2]string{{child, parent}, {parent, child}} {
			t := tables[pair[0]]
			t.Related = append(t.Related, pair[1])
			tables[pair[0]] = t
		}
	})
	if err == nil {
		err = h.pairs(ctx, cascades[h.server.Product], func(parent, child string) {
			t := tables[parent]
			t.Cascades = append(t.Cascades, child)
			tables[parent] = t
		})
	}
	if heirs := heirs[h.server.Product]; err == nil && heirs != "" {
		err = h.pairs(ctx, heirs, func(table, _ string) { delete(tables, table) }) // so that it may do anything
	}
	if err == nil {
		err = h.pairs(ctx, triggers[h.server.Product], func(table, _ string) {
			t := tables[table]
			t.Triggers = true
			tables[table] = t
		})
	}
	h.player.Dialect.Tables = tables
	if err != nil {
		return fmt.Errorf("asking for foreign keys, triggers and heirs: %w", err)
	}
	return nil
}

// pairs runs a query of two names of tables.
func (h *harness) pairs(ctx context.Context, query string, each func(a, b string)) error {
	rows, err := h.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var a, b sql.NullString
		if err := rows.Scan(&a, &b); err != nil {
			return err
		}
		each(strings.ToLower(a.String), strings.ToLower(b.String))
	}
	return rows.Err()
}

// short returns a name of a table without its schema, as effects have it.
func short(name string) string { return strings.ToLower(name[strings.LastIndex(name, ".")+1:]) }
