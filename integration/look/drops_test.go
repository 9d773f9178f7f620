//go:build unix

package look_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

// What may keep an INSERT of PostgreSQL from writing a row without an error is seen, and nothing else is taken for it. So is what
// may write elsewhere and return no row.
func TestDropsInserts(t *testing.T) {
	const function = "CREATE FUNCTION veto() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
	const table = "CREATE TABLE members (id INT PRIMARY KEY)"
	trigger := func(event, table string) string {
		return "CREATE TRIGGER veto " + event + " ON " + table + " FOR EACH ROW EXECUTE FUNCTION veto()"
	}
	partitioned := []string{
		function, table + " PARTITION BY RANGE (id)",
		"CREATE TABLE low PARTITION OF members FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id)",
		"CREATE TABLE lowest PARTITION OF low FOR VALUES FROM (0) TO (10)",
	}
	tests := map[string]struct {
		make    []string
		want    bool
		returns bool
	}{
		"plain":                      {[]string{table}, false, true},
		"partitions":                 {partitioned, false, true},
		"foreign key":                {[]string{"CREATE TABLE groups (id INT PRIMARY KEY)", "CREATE TABLE members (id INT PRIMARY KEY REFERENCES groups)"}, false, true},
		"AFTER INSERT":               {[]string{function, table, trigger("AFTER INSERT", "members")}, false, true},
		"BEFORE UPDATE":              {[]string{function, table, trigger("BEFORE UPDATE OR DELETE", "members")}, false, false},
		"of the statement":           {[]string{function, table, "CREATE TRIGGER veto BEFORE INSERT ON members EXECUTE FUNCTION veto()"}, false, true},
		"disabled":                   {[]string{function, table, trigger("BEFORE INSERT", "members"), "ALTER TABLE members DISABLE TRIGGER veto"}, false, true},
		"of another table":           {[]string{function, table, "CREATE TABLE others (id INT)", trigger("BEFORE INSERT", "others")}, false, true},
		"BEFORE INSERT":              {[]string{function, table, trigger("BEFORE INSERT OR UPDATE", "members")}, true, false},
		"of the partitioned":         {append(partitioned, trigger("BEFORE INSERT", "members")), true, false},
		"of a partition's partition": {append(partitioned, trigger("BEFORE INSERT", "lowest")), true, false},
		"of a partition behind views": {append(partitioned, trigger("BEFORE INSERT", "lowest"), "ALTER TABLE members RENAME TO stored",
			"CREATE VIEW shown AS SELECT * FROM stored", "CREATE VIEW members AS SELECT * FROM shown"), true, false},
		"view":   {[]string{"CREATE TABLE stored (id INT PRIMARY KEY)", "CREATE VIEW members AS SELECT * FROM stored WHERE id < 10"}, true, true},
		"policy": {[]string{table, "ALTER TABLE members ENABLE ROW LEVEL SECURITY"}, true, true},
		"one of the name": {[]string{function, table, "CREATE SCHEMA tenant", "CREATE TABLE tenant.members (id INT PRIMARY KEY)",
			trigger("BEFORE INSERT", "tenant.members")}, true, false},
	}
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		members, err := dialect.Table("members")
		require.NoError(t, err)
		for name, tt := range tests {
			t.Run(name, func(t *testing.T) {
				db := target.Open(t)
				exec(t, db, tt.make...)
				src, err := dialect.NewSource(db, target.Dialect)
				require.NoError(t, err)
				server, err := src.Server(t.Context(), txn.Pool{DB: db})
				require.NoError(t, err)
				look, err := server.Look(t.Context(), txn.Pool{DB: db}, members, dialect.Question{})
				require.NoError(t, err)
				require.True(t, look.Listed)
				require.True(t, look.Lasts)
				require.Equal(t, tt.want, look.MeddlesInserts)
				require.Equal(t, tt.returns, look.Returns)
			})
		}
	})
}
