package dialect_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

func TestIsNumber(t *testing.T) {
	for _, number := range []string{
		"bigint", "integer", "smallint", "bigint(20) unsigned", "mediumint", "INT", "INTEGER", "", "numeric(20,0)", "DECIMAL", "INT8",
		"update_count", "date_version", "settings", "bitcount", // domains
	} {
		require.True(t, dialect.IsNumber(number), number)
	}
	for _, other := range []string{
		"timestamp without time zone", "timestamp with time zone", "datetime(6)", "TIMESTAMP", "date", "time", "uuid", "text", "longtext",
		"varchar(36)", "character varying(36)", "char(36)", "bytea", "binary(16)", "varbinary(16)", "BLOB", "enum('a')", "set('a')", "jsonb",
	} {
		require.False(t, dialect.IsNumber(other), other)
	}
}

func TestIsNarrow(t *testing.T) {
	for d, types := range map[nogap.Dialect]map[string]bool{
		nogap.Postgres: {
			"smallint": true, "integer": true, "real": true, "numeric(10,0)": true, "numeric(20,2)": true,
			"bigint": false, "numeric": false, "numeric(19,0)": false, "counter": false, "": false,
		},
		nogap.MySQL: {
			"tinyint(1)": true, "smallint": true, "mediumint unsigned": true, "int(11)": true, "INT": true, "decimal(10,0)": true,
			"bigint(20)": false, "bigint unsigned": false, "decimal(20,0)": false, "decimal(65)": false,
		},
		nogap.SQLite: {"INT": false, "INTEGER": false, "DECIMAL(3)": false},
	} {
		s, err := dialect.Assume(d)
		require.NoError(t, err)
		for columnType, want := range types {
			require.Equal(t, want, s.IsNarrow(columnType), "%v: %s", d, columnType)
		}
	}
}

func TestSameColumn(t *testing.T) {
	column := func(name string) dialect.Ident {
		id, err := dialect.Column(name)
		require.NoError(t, err)
		return id
	}
	for _, d := range dialects {
		s := assume(t, d)
		require.True(t, s.SameColumn(column("stock"), column("stock")))
		require.False(t, s.SameColumn(column("stock"), column("stocks")))
		require.Equal(t, d != nogap.Postgres, s.SameColumn(column("stock"), column("Stock")), d)
	}
}
