package dialect

import (
	"strings"

	"github.com/nogap-go/nogap"
)

var postgres = language{
	dialect:  nogap.Postgres,
	product:  PostgreSQL,
	question: "SELECT version()",
	recognize: func(v string) (Product, string) {
		switch yb := strings.Index(v, "-YB-"); {
		case strings.HasPrefix(v, "CockroachDB"):
			// CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built …)
			return CockroachDB, v[strings.Index(v, " v")+1:]
		case strings.HasPrefix(v, "PostgreSQL") && yb >= 0:
			// PostgreSQL 11.2-YB-2.20.0.0-b0 on x86_64-pc-linux-gnu, …
			return YugabyteDB, v[yb+len("-YB-"):]
		case strings.HasPrefix(v, "PostgreSQL"):
			// PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, …
			return PostgreSQL, v[len("PostgreSQL"):]
		}
		return 0, ""
	},
	capabilities: func(s Server) Capabilities {
		c := Capabilities{
			quote:          `"`,
			placeholders:   dollars,
			NullSafeEquals: "IS NOT DISTINCT FROM",
			BindName:       "postgres",

			UpdateReturning: true,
			OnConflict:      true,
			WritingCTE:      true,
			verifyStored:    " RETURNING 1 / CASE WHEN %s THEN 1 ELSE 0 END",
			Returning:       " RETURNING 1",

			// Without the cast an amount takes the column's type, and one beyond an INTEGER is refused by the driver.
			amounts: [...]string{Verbatim: "%s", Signed: "CAST(%s AS BIGINT)", Unsigned: "CAST(%s AS NUMERIC)", Decimal: "%s"},
			numeric: "%s",

			LocalSettings: true,

			RowLocks: true,
			modes: [...]string{
				ForUpdate: " FOR UPDATE", ForNoKeyUpdate: " FOR NO KEY UPDATE", ForShare: " FOR SHARE", ForKeyShare: " FOR KEY SHARE",
			},
			waits:            [...]bool{Wait: true, NoWait: true, SkipLocked: true},
			MissesReinserted: true,
			LockLimit:        LocalLimit,
			NamedLocks:       AdvisoryLocks,

			binaryTypes: "BYTEA",
			timesOfSix: "timestamp without time zone|timestamp with time zone|" +
				"timestamp|timestamp(6)|timestamp(6) without time zone|timestamp(6) with time zone",
			narrow:    "smallint|integer|real",
			Clock:     "CAST(" + postgresEpoch("clock_timestamp()") + " * 1000000 AS BIGINT)",
			toCome:    postgresEpoch("%s") + " > " + postgresEpoch("clock_timestamp()"),
			sameBytes: "convert_to(CAST(%s AS text), 'UTF8') = convert_to(CAST(%s AS text), 'UTF8')",
			exactText: "TEXT", exactBytes: "BYTEA", LongBytes: "BYTEA",
			Now: "CURRENT_TIMESTAMP", InstantType: "TIMESTAMP WITH TIME ZONE",
			ago: "CURRENT_TIMESTAMP - CAST(%s AS BIGINT) * INTERVAL '1 microsecond'",

			ReturnsSession: "0, ''",

			look:       postgresLook,
			columnType: postgresType,

			// A view's columns have those of its table.
			makesValues: "SELECT count(*) FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid " +
				"WHERE c.oid = " + postgresOID("{2}", "{1}") + " AND a.attname = CAST({3} AS text) " +
				"AND (a.atthasdef OR a.attidentity <> '' OR c.relkind = 'v')",

			// to_regclass fails for a schema that is named and may not be looked into.
			sameTable: "SELECT CASE WHEN " + postgresOID("{1}", "{2}") + " = " + postgresOID("{3}", "{4}") + " THEN 1 ELSE 0 END",
		}
		switch s.Product {
		case PostgreSQL:
			c.ReturnsSession = "pg_backend_pid(), CAST(txid_current() & 4294967295 AS text)"
			c.ends = byTransaction
			c.manyRows, c.oneByOne = byArrays, postgresOneByOne
			c.SystemVersion = "xmin::text::bigint" // neither database/sql nor all drivers know the type xid
		case CockroachDB:
			c.NamedLocks = NoNamedLocks // its advisory locks do nothing
			c.look = cockroachLook
		}
		return c
	},
}

// postgresEpoch is a time in seconds since 1970 UTC. One without a time zone is taken as UTC, whatever the session's is.
func postgresEpoch(time string) string { return "EXTRACT(EPOCH FROM " + time + ")" }

// postgresOID is the number of the table with that schema, which may be empty, and that name.
func postgresOID(schema, name string) string {
	schema, name = "CAST("+schema+" AS text)", "CAST("+name+" AS text)"
	return "CASE WHEN " + schema + " = '' THEN CAST(to_regclass(quote_ident(" + name + ")) AS oid) ELSE (" +
		"SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace " +
		"WHERE n.nspname = " + schema + " AND c.relname = " + name + ") END"
}

// postgresType is the type of column {3} of the table with the number c.oid.
const postgresType = "SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute AS a " +
	"WHERE a.attrelid = c.oid AND a.attname = CAST({3} AS text)"

// postgresLook looks at all tables of the name, since a session with another search_path would find another one. What is
// reached from a view are the tables and views that its definition names. What takes the place of a command is a trigger
// INSTEAD OF it (64, with the bits of the commands 4, 16 and 8) or a rule other than the one that makes a view what it
// is. Rows that come from a WITH, a UNION or a function are not locked, unless it is in a condition: the server could write
// through such a view without a rule (4 is UPDATE). OFFSET 0 keeps the server from searching the text of every view there is,
// which takes 20 ms in an empty database. What drops an INSERT is a trigger BEFORE it for each row (2, 4 and 1),
// also one of a partition; that of any table of the name is taken for all. A row is written and not returned if a trigger
// BEFORE any command for each row (2 and 1) writes it elsewhere, here or on the server of a foreign table. YugabyteDB, which runs
// the same program in front of another storage, may commit before it returns anything.
var postgresLook = `
WITH RECURSIVE named(oid, temporary, type) AS (
	SELECT c.oid, c.relpersistence = 't', {type}
	FROM pg_class AS c
	WHERE c.relname = CAST({2} AS text) AND c.relkind IN ('r', 'p', 'v', 'f', 'm')
		AND (CAST({schema} AS text) = '' OR c.oid = ` + postgresOID("{schema}", "{2}") + `)
), reached(root, oid) AS (
	SELECT oid, oid FROM named
	UNION
	SELECT reached.root, d.refobjid
	FROM reached
	JOIN pg_rewrite AS r ON r.ev_class = reached.oid AND r.ev_type = '1'
	JOIN pg_depend AS d ON d.objid = r.oid AND d.classid = CAST('pg_rewrite' AS regclass)
		AND d.refclassid = CAST('pg_class' AS regclass) AND d.refobjid <> reached.oid
), rules(root, diverted) AS (
	SELECT reached.root, bit_or(CASE WHEN r.ev_enabled = 'D' THEN 0 WHEN r.ev_type = '3' THEN 1 WHEN r.ev_type = '2' THEN 2 ELSE 4 END)
	FROM reached JOIN pg_rewrite AS r ON r.ev_class = reached.oid AND r.ev_type <> '1' AND r.is_instead
	GROUP BY reached.root
), triggers(root, diverted) AS (
	SELECT reached.root, bit_or(CASE WHEN t.tgtype & 4 <> 0 THEN 1 ELSE 0 END | CASE WHEN t.tgtype & 16 <> 0 THEN 2 ELSE 0 END
		| CASE WHEN t.tgtype & 8 <> 0 THEN 4 ELSE 0 END)
	FROM reached JOIN pg_trigger AS t ON t.tgrelid = reached.oid AND t.tgtype & 64 <> 0 AND t.tgenabled <> 'D'
	GROUP BY reached.root
), computed(root) AS (
	SELECT DISTINCT reached.root
	FROM reached CROSS JOIN LATERAL (
		SELECT CAST(r.ev_action AS text) AS action FROM pg_rewrite AS r WHERE r.ev_class = reached.oid AND r.ev_type = '1' OFFSET 0
	) AS definition
	WHERE definition.action ~ ':ctename |SETOPERATIONSTMT :|RANGETBLFUNCTION :'
), filled(oid) AS (
	SELECT oid FROM reached
	UNION
	SELECT i.inhrelid FROM filled JOIN pg_inherits AS i ON i.inhparent = filled.oid
), told(oid, temporary, type, diverted, unlockable) AS (
	SELECT n.oid, n.temporary, n.type, COALESCE(rules.diverted, 0) | COALESCE(triggers.diverted, 0),
		CASE WHEN computed.root IS NOT NULL AND (rules.root IS NOT NULL OR pg_relation_is_updatable(n.oid, false) & 4 = 0) THEN 1 ELSE 0 END
	FROM named AS n
	LEFT JOIN rules ON rules.root = n.oid
	LEFT JOIN triggers ON triggers.root = n.oid
	LEFT JOIN computed ON computed.root = n.oid
)
SELECT t.diverted, t.unlockable, '', t.type, {cut}, CASE WHEN t.temporary OR EXISTS (SELECT 1 FROM told AS o
	WHERE o.temporary OR o.type <> t.type OR o.diverted <> t.diverted OR o.unlockable <> t.unlockable) THEN 0 ELSE 1 END, '', 0,
	CASE WHEN EXISTS (SELECT 1 FROM filled JOIN pg_trigger AS b ON b.tgrelid = filled.oid AND b.tgtype & 7 = 7 AND b.tgenabled <> 'D')
		OR EXISTS (SELECT 1 FROM reached JOIN pg_class AS c ON c.oid = reached.oid AND (c.relkind = 'v' OR c.relrowsecurity)) THEN 1 ELSE 0 END, '',
	CASE WHEN version() LIKE 'PostgreSQL %' AND version() NOT LIKE '%-YB-%'
		AND NOT EXISTS (SELECT 1 FROM filled JOIN pg_trigger AS b ON b.tgrelid = filled.oid AND b.tgtype & 3 = 3 AND b.tgenabled <> 'D')
		AND NOT EXISTS (SELECT 1 FROM filled JOIN pg_class AS c ON c.oid = filled.oid AND c.relkind = 'f') THEN 1 ELSE 0 END
FROM told AS t WHERE t.oid = ` + postgresOID("{schema}", "{2}")

// cockroachLook asks for less: CockroachDB has no rules and no triggers on views. Newer ones have triggers that drop an INSERT,
// which are not looked for.
var cockroachLook = "SELECT 0, 0, '', {type}, {cut}, 1, '', 0, 1, '', 0 FROM pg_class AS c WHERE c.oid = " + postgresOID("{schema}", "{2}")

// postgresOneByOne counts triggers of the table and its partitions, without those of foreign keys, and the table if it is a view.
var postgresOneByOne = `
WITH RECURSIVE filled(oid) AS (
	SELECT c.oid FROM pg_class AS c WHERE c.oid = ` + postgresOID("{2}", "{1}") + `
	UNION
	SELECT i.inhrelid FROM filled JOIN pg_inherits AS i ON i.inhparent = filled.oid
)
SELECT (SELECT count(*) FROM filled JOIN pg_trigger AS t ON t.tgrelid = filled.oid AND NOT t.tgisinternal AND t.tgtype & 17 = 17
		AND t.tgenabled <> 'D')
	+ (SELECT count(*) FROM filled JOIN pg_class AS c ON c.oid = filled.oid AND c.relkind NOT IN ('r', 'p'))`
