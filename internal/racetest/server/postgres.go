package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

type postgres struct{}

func (postgres) quote() string { return `"` }

var errPooler = errors.New("the sessions of the server can't be told apart, because a pooler such as PgBouncer hands them out for " +
	"single transactions: let Open connect to PostgreSQL itself")

// check asks two connections by turns which session they have. Behind a pooler they share one, or theirs changes.
func (postgres) check(ctx context.Context, db, other *sql.DB) error {
	var pids [4]int64
	for i, conn := range []*sql.DB{db, other, db, other} {
		if err := conn.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&pids[i]); err != nil {
			return err
		}
	}
	if pids[0] == pids[1] || pids[0] != pids[2] || pids[1] != pids[3] {
		return errPooler
	}
	return nil
}

// https://www.postgresql.org/docs/current/functions-info.html; a SERIALIZABLE READ ONLY DEFERRABLE transaction waits for others too.
func (postgres) blocked(ctx context.Context, db *sql.DB, id int64) (Waiting, error) {
	by, err := values[int64](ctx, db, "SELECT unnest(pg_blocking_pids(CAST($1 AS integer)) || "+
		"pg_safe_snapshot_blocking_pids(CAST($1 AS integer)))", id)
	if err != nil || len(by) == 0 {
		return Waiting{Answer: No}, err
	}
	return Waiting{Yes, by}, nil
}

// Partitions are read through their table.
func (postgres) tables() string {
	return "SELECT n.nspname, c.relname, pg_table_is_visible(c.oid) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace " +
		"WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' " +
		"AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
}

// The stored expression of a default shows a function that was called, in contrast to one that converts a constant.
func (postgres) columns(schema, name string) string {
	return fmt.Sprintf(`
SELECT a.attname, format_type(a.atttypid, a.atttypmod), COALESCE(array_position(CAST(i.indkey AS smallint[]), a.attnum) + 1, 0),
	a.attidentity <> '' OR EXISTS (%s), COALESCE(CAST(d.adbin AS text) ~ ':funcformat 0|SQLVALUEFUNCTION' AND a.attgenerated = '', false)
FROM pg_attribute AS a
LEFT JOIN pg_index AS i ON i.indrelid = a.attrelid AND i.indisprimary
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`,
		"SELECT 1 FROM pg_depend AS p JOIN pg_class AS s ON s.oid = p.refobjid AND s.relkind = 'S' "+
			"WHERE p.classid = CAST('pg_attrdef' AS regclass) AND p.objid = d.oid AND p.refclassid = CAST('pg_class' AS regclass)",
		postgresTable(schema, name))
}

// advance moves the sequences that belong to a column of the table, and those that a default reads. Sequences may count down.
func (postgres) advance(ctx context.Context, db *sql.DB, t *listed, by int64) error {
	_, err := db.ExecContext(ctx, fmt.Sprintf(`
WITH used(oid) AS (
	SELECT p.objid FROM pg_depend AS p WHERE p.classid = CAST('pg_class' AS regclass) AND p.refclassid = CAST('pg_class' AS regclass)
		AND p.refobjid = %[1]s AND p.deptype IN ('a', 'i')
	UNION
	SELECT p.refobjid FROM pg_depend AS p JOIN pg_attrdef AS d ON d.oid = p.objid
	WHERE p.classid = CAST('pg_attrdef' AS regclass) AND p.refclassid = CAST('pg_class' AS regclass) AND d.adrelid = %[1]s
), next(oid, value, most, least) AS (
	SELECT u.oid, nextval(u.oid) + %[2]d * q.seqincrement, q.seqmax, q.seqmin FROM used AS u JOIN pg_sequence AS q ON q.seqrelid = u.oid
)
SELECT setval(oid, value) FROM next WHERE value BETWEEN least AND most`, postgresTable(t.schema, t.bare), by))
	return err
}

// postgresTable is the number of a table.
func postgresTable(schema, name string) string {
	return fmt.Sprintf("(SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s)",
		text(schema), text(name))
}

// text is a string in SQL. PostgreSQL and SQLite know no escapes in it, with standard_conforming_strings, which is the default.
func text(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
