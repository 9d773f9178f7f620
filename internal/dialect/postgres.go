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

			columnType: "SELECT format_type(atttypid, atttypmod) FROM pg_attribute " +
				"WHERE attrelid = to_regclass(CAST({1} AS text)) AND attname = CAST({2} AS text)",
			byRegclass: true,
			timesOfSix: "timestamp|timestamp without time zone|timestamp with time zone",
			exactText:  "TEXT",

			// to_regclass fails for a schema that is named and may not be looked into.
			sameTable: "SELECT CASE WHEN " + postgresOID("{1}", "{2}") + " = " + postgresOID("{3}", "{4}") + " THEN 1 ELSE 0 END",
		}
		switch s.Product {
		case PostgreSQL:
			c.SystemVersion = "xmin::text::bigint" // neither database/sql nor all drivers know the type xid
		case CockroachDB:
			c.NamedLocks = NoNamedLocks // its advisory locks do nothing
		}
		return c
	},
}

// postgresOID is the number of the table with that schema, which may be empty, and that name.
func postgresOID(schema, name string) string {
	schema, name = "CAST("+schema+" AS text)", "CAST("+name+" AS text)"
	return "CASE WHEN " + schema + " = '' THEN CAST(to_regclass(quote_ident(" + name + ")) AS oid) ELSE (" +
		"SELECT c.oid FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace " +
		"WHERE n.nspname = " + schema + " AND c.relname = " + name + ") END"
}
