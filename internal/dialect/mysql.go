package dialect

import (
	"strings"

	"github.com/nogap-go/nogap"
)

var mysql = language{
	dialect:  nogap.MySQL,
	product:  MySQL,
	question: "SELECT version()",
	recognize: func(v string) (Product, string) {
		switch tidb := strings.Index(v, "-TiDB-"); {
		case tidb >= 0:
			// 8.0.11-TiDB-v7.5.0
			return TiDB, v[tidb+len("-TiDB-"):]
		case v != "" && v[0] >= '0' && v[0] <= '9':
			// 8.0.36, 8.4.2-2 (Percona)
			return MySQL, v
		}
		return 0, ""
	},
	capabilities: func(s Server) Capabilities {
		c := mysqlCapabilities()
		c.modes[ForShare] = " FOR SHARE"
		c.inMode = "%[2]s /*+ SET_VAR(sql_mode = '%[1]s') */ %[3]s"
		c.catalogFixesSnapshot = s.Product == MySQL
		switch {
		case s.Product == TiDB:
			c.inMode = ""
			c.SessionInValue, c.ends = "", 0 // its connections are those of one node
			c.modes[ForShare] = ""           // parsed, and then ignored or refused, depending on a setting
			c.waits[SkipLocked] = false
			c.GapLocks = false
		case s.olderThan(8, 0):
			c.inMode = ""
			c.modes[ForShare] = " LOCK IN SHARE MODE"
			c.waits = [...]bool{Wait: true, NoWait: false, SkipLocked: false}
		}
		return c
	},
}

// mysqlCapabilities returns what MySQL and MariaDB have in common.
func mysqlCapabilities() Capabilities {
	return Capabilities{
		quote:          "`",
		placeholders:   questionMarks,
		NullSafeEquals: "<=>",
		BindName:       "mysql",

		uniqueIndexes: "SELECT COUNT(*) FROM (" + mysqlUniqueIndexes + ") AS fitting",
		keyIndex: "SELECT fitting.index_name FROM (" + mysqlUniqueIndexes + ") AS fitting " +
			"ORDER BY fitting.index_name <> 'PRIMARY', fitting.index_name LIMIT 1",

		// Without the cast DECIMAL meets a string, and both become DOUBLE.
		amounts:    [...]string{Verbatim: "%s", Signed: "%s", Unsigned: "%s", Decimal: "CAST(%s AS DECIMAL(65,{scale}))"},
		decimals:   decimals{digits: 65, scale: 30},
		numeric:    "%s",
		Unsigned64: true,

		LatestRead:       " FOR UPDATE",
		LatestReadShared: " LOCK IN SHARE MODE",

		TakesArgument: "DO ?",

		RowLocks: true,
		modes:    [...]string{ForUpdate: " FOR UPDATE", ForShare: " LOCK IN SHARE MODE", ForKeyShare: ""},
		waits:    [...]bool{Wait: true, NoWait: true, SkipLocked: true},
		GapLocks: true,
		manyRows: byCases,
		oneByOne: "SELECT COUNT(*) FROM information_schema.triggers WHERE event_manipulation = 'UPDATE' AND event_object_table = {1} " +
			"AND event_object_schema = COALESCE(NULLIF({2}, ''), DATABASE())",
		LockLimit:   SessionLimit,
		NamedLocks:  UserLocks,
		MayBeGalera: true,

		// Neither depends on the time zone of the session, as NOW(6) and UNIX_TIMESTAMP of a time do.
		Clock: "TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6))",

		binaryTypes:  "BINARY|VARBINARY|TINYBLOB|BLOB|MEDIUMBLOB|LONGBLOB",
		bits:         "BIT",
		timesOfSix:   "datetime(6)|timestamp(6)",
		sameBytes:    "CAST(%s AS BINARY) = CAST(%s AS BINARY)",
		narrow:       "tinyint|smallint|mediumint|int|float",
		exactText:    "VARBINARY(%d)", // text would compare without regard to case and trailing blanks
		exactBytes:   "VARBINARY(%d)",
		LongBytes:    "LONGBLOB",
		tableOptions: " ENGINE=InnoDB",
		Now:          "UTC_TIMESTAMP(6)",
		InstantType:  "DATETIME(6)",
		ago:          "UTC_TIMESTAMP(6) - INTERVAL %s MICROSECOND",

		SessionInValue: " + 0 * LAST_INSERT_ID(CONNECTION_ID())",
		ends:           byIdleness,

		driverCutsTimes: true, // timeTruncate

		look: mysqlLook,
		columnType: "SELECT COLUMN_TYPE FROM information_schema.COLUMNS " +
			"WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {2} AND COLUMN_NAME = {3} LIMIT 1",
		currentSchema: "DATABASE()",
		session:       "SELECT @@autocommit, @@completion_type",

		// Other defaults are not told.
		makesValues: "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_NAME = {1} AND " +
			"TABLE_SCHEMA = COALESCE(NULLIF({2}, ''), DATABASE()) AND COLUMN_NAME = {3} AND EXTRA LIKE '%auto_increment%'",

		FoldsColumns: true,
		sameTable: `
SELECT CASE WHEN ours.d IS NULL OR theirs.d IS NULL THEN 0
	WHEN @@lower_case_table_names = 0 THEN CAST(ours.d AS BINARY) = CAST(theirs.d AS BINARY) AND CAST(ours.t AS BINARY) = CAST(theirs.t AS BINARY)
	ELSE LOWER(ours.d) = LOWER(theirs.d) AND LOWER(ours.t) = LOWER(theirs.t) END
FROM (SELECT COALESCE(NULLIF({1}, ''), DATABASE()) AS d, {2} AS t) AS ours,
	(SELECT COALESCE(NULLIF({3}, ''), DATABASE()) AS d, {4} AS t) AS theirs`,
	}
}

// mysqlUniqueIndexes are the names of unique indexes. sub_part is set for an index on a prefix of the column; an index on an
// expression has no column_name.
const mysqlUniqueIndexes = `
	SELECT index_name AS index_name FROM information_schema.statistics
	WHERE table_name = {1} AND table_schema = COALESCE(NULLIF({2}, ''), DATABASE()) AND non_unique = 0
	GROUP BY index_name
	HAVING COUNT(*) = %[1]d AND SUM(LOWER(column_name) IN (%[2]s) AND sub_part IS NULL) = %[1]d
`

// mysqlStrictMode is the sql_mode of the session and a strict one, or nothing if it is strict.
const mysqlStrictMode = "CASE WHEN @@sql_mode LIKE '%STRICT_%' THEN '' ELSE CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_ALL_TABLES') END"

// mysqlLook asks for the engine, and for the definition of a view, whose tables have engines. A view that can't be updated
// is computed first, and its rows are not those of a table. MariaDB lists temporary tables from 11.2 on.
const mysqlLook = `
SELECT 0,
	COALESCE((SELECT v.IS_UPDATABLE = 'NO' FROM information_schema.VIEWS AS v
		WHERE v.TABLE_SCHEMA = {schema} AND v.TABLE_NAME = {2} LIMIT 1), 0),
	COALESCE((SELECT e.ENGINE FROM information_schema.ENGINES AS e WHERE e.ENGINE = t.ENGINE AND e.TRANSACTIONS = 'NO' LIMIT 1), ''),
	{type}, {cut}, t.TABLE_TYPE <> 'TEMPORARY',
	COALESCE((SELECT v.VIEW_DEFINITION FROM information_schema.VIEWS AS v
		WHERE v.TABLE_SCHEMA = {schema} AND v.TABLE_NAME = {2} LIMIT 1), ''),
	EXISTS (SELECT 1 FROM information_schema.TRIGGERS AS g
		WHERE g.EVENT_OBJECT_SCHEMA = {schema} AND g.EVENT_OBJECT_TABLE = {2}
			AND g.EVENT_MANIPULATION = 'UPDATE' AND g.ACTION_TIMING = 'BEFORE'),
	EXISTS (SELECT 1 FROM information_schema.TRIGGERS AS g
		WHERE g.EVENT_OBJECT_SCHEMA = {schema} AND g.EVENT_OBJECT_TABLE = {2}
			AND g.EVENT_MANIPULATION = 'INSERT' AND g.ACTION_TIMING = 'BEFORE'),
	` + mysqlStrictMode + `, 0
FROM information_schema.TABLES AS t
WHERE t.TABLE_SCHEMA = {schema} AND t.TABLE_NAME = {2}
ORDER BY t.TABLE_TYPE = 'TEMPORARY' DESC LIMIT 1`
