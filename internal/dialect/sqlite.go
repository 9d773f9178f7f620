package dialect

import "github.com/nogap-go/nogap"

var sqlite = language{
	dialect:   nogap.SQLite,
	product:   SQLite,
	question:  "SELECT sqlite_version()",
	recognize: func(v string) (Product, string) { return SQLite, v },
	capabilities: func(Server) Capabilities {
		return Capabilities{
			// SQLite takes a name in double quotes that is no column for a string literal, and a mistyped key column
			// would match no row instead of failing:
			// https://www.sqlite.org/quirks.html#double_quoted_string_literals_are_accepted
			quote:          "`",
			placeholders:   numberedQuestionMarks,
			NullSafeEquals: "IS",
			BindName:       "sqlite3",

			UpdateReturning: true, // since 3.35 (March 2021), the oldest that nogap supports
			OnConflict:      true,
			// The primary key of a rowid table, INTEGER PRIMARY KEY, has no index of its own. Without a schema the
			// pragmas look in all of them.
			uniqueIndexes: `
SELECT
	(SELECT count(*) FROM pragma_index_list({1}, nullif({2}, '')) AS l
	 WHERE l."unique" = 1 AND l.partial = 0 AND (
		SELECT count(*) = %[1]d AND sum(lower(c.name) IN (%[2]s)) = %[1]d
		FROM pragma_index_info(l.name, nullif({2}, '')) AS c))
	+
	(SELECT count(*) = %[1]d AND sum(lower(c.name) IN (%[2]s)) = %[1]d
	 FROM pragma_table_info({1}, nullif({2}, '')) AS c WHERE c.pk > 0)`,

			// A bound text is greater than every number, unless a column stands on the other side.
			amounts: [...]string{Verbatim: "%s", Signed: "%s", Unsigned: "%s", Decimal: "(%s + 0)"},
			// A column of text is compared with any number as text, so '5' with 10 as if it were more.
			numeric: "(%s + 0)",
			// There is no overflow: an integer that becomes too large turns into a rounded REAL.
			noOverflow: "NOT (typeof(%[1]s) = 'integer' AND typeof(0 + %[2]s) = 'integer' AND typeof(%[3]s) <> 'integer')",

			FixedIsolation:  true,
			SavepointBegins: true,

			modes:      [...]string{ForKeyShare: ""},
			waits:      [...]bool{Wait: true, SkipLocked: false},
			LockLimit:  BusyLimit,
			NamedLocks: DatabaseLock,

			TypelessTimes: true,
			exactText:     "TEXT",
			sameBytes:     "CAST(%s AS BLOB) = CAST(%s AS BLOB)",
			exactBytes:    "BLOB",
			LongBytes:     "BLOB",
			Now:           "strftime('%Y-%m-%d %H:%M:%f', 'now')",
			InstantType:   "TEXT",
			ago:           "strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', printf('-%%.6f seconds', %s / 1000000.0))",

			ReturnsSession: "0, ''",

			driverCutsTimes: true,

			look:       sqliteLook,
			columnType: "SELECT c.type FROM pragma_table_info({2}, found.schema) AS c WHERE lower(c.name) = lower({3})",

			// The number of a row stands in for an INTEGER PRIMARY KEY.
			makesValues: `
SELECT count(*) FROM pragma_table_info({1}, nullif({2}, '')) AS c
WHERE lower(c.name) = lower({3}) AND (c.dflt_value IS NOT NULL OR upper(c.type) = 'INTEGER' AND c.pk > 0
	AND (SELECT count(*) FROM pragma_table_info({1}, nullif({2}, '')) AS k WHERE k.pk > 0) = 1)`,

			FoldsColumns: true,
			// Without a schema a name is looked for in temp, then in main, then in what is attached.
			sameTable: `
WITH named(schema, name) AS (VALUES (lower({1}), lower({2})), (lower({3}), lower({4})))
SELECT count(*) = 2 AND count(DISTINCT place || '.' || name) = 1 FROM (
	SELECT name, (
		SELECT lower(l.schema) FROM pragma_table_list AS l
		WHERE lower(l.name) = named.name AND named.schema IN ('', lower(l.schema))
		ORDER BY l.schema = 'temp' DESC, l.schema = 'main' DESC LIMIT 1) AS place
	FROM named)
WHERE place IS NOT NULL`,
		}
	},
}

// sqliteLook looks for the name in temp, then in main, then in what is attached. A view is written by triggers INSTEAD OF
// the commands, or not at all. A trigger AFTER an UPDATE may be a second one. What drops an
// INSERT, RAISE(IGNORE) and ON CONFLICT IGNORE, is not looked for. Another connection may have something else attached, or under temp.
const sqliteLook = `
WITH found(schema, type) AS (
	SELECT l.schema, l.type FROM pragma_table_list AS l
	WHERE lower(l.name) = lower({2}) AND lower({schema}) IN ('', lower(l.schema)))
SELECT CASE found.type WHEN 'view' THEN 7 ELSE 0 END, 0, '', {type}, {cut},
	found.schema = 'main' AND (SELECT count(*) FROM found) = 1, '',
	EXISTS (SELECT 1 FROM (SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'
			UNION ALL SELECT tbl_name, sql FROM sqlite_temp_master WHERE type = 'trigger')
		WHERE lower(tbl_name) = lower({2}) AND upper(sql) LIKE '%UPDATE%'), 1, '', 0
FROM found
ORDER BY found.schema = 'temp' DESC, found.schema = 'main' DESC LIMIT 1`
