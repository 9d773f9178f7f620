package dialect_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

func TestStrictly(t *testing.T) {
	const update, insert, read = "UPDATE items SET n = {2} WHERE id = {1}", "INSERT INTO items VALUES ({1})", "SELECT n FROM items"
	for d, want := range map[nogap.Dialect][2]string{
		nogap.MySQL: {"UPDATE /*+ SET_VAR(sql_mode = 'ANSI,STRICT_ALL_TABLES') */ items SET n = ? WHERE id = ?",
			"INSERT /*+ SET_VAR(sql_mode = 'ANSI,STRICT_ALL_TABLES') */ INTO items VALUES (?)"},
		nogap.MariaDB: {"SET STATEMENT sql_mode = 'ANSI,STRICT_ALL_TABLES' FOR UPDATE items SET n = ? WHERE id = ?",
			"SET STATEMENT sql_mode = 'ANSI,STRICT_ALL_TABLES' FOR INSERT INTO items VALUES (?)"},
	} {
		s, err := dialect.Assume(d)
		require.NoError(t, err)
		strict, err := s.Strictly("ANSI,STRICT_ALL_TABLES")
		require.NoError(t, err)
		text, args := strict.Compile(update).Bind([]any{7, 5})
		require.Equal(t, want[0], text)
		require.Equal(t, []any{5, 7}, args)
		require.Equal(t, want[1], strict.Compile(insert).Text)
		require.Equal(t, read, strict.Compile(read).Text)
		text, args = strict.Compile(update).WithLiterals().Bind([]any{7, 5})
		require.Empty(t, args)
		require.Contains(t, text, "items SET n = 5 WHERE id = 7")

		require.Equal(t, "INSERT INTO items VALUES (?)", s.Compile(insert).Text, "it is as it was")
		same, err := s.Strictly("")
		require.NoError(t, err)
		require.Equal(t, s, same)
	}
	_, err := versioned(t, "5.7.44").Strictly("STRICT_ALL_TABLES")
	require.ErrorContains(t, err, "MySQL 5.7 would store what is left of a value that does not fit: add STRICT_TRANS_TABLES")
	_, err = versioned(t, "8.0.11-TiDB-v7.5.0").Strictly("STRICT_ALL_TABLES")
	require.ErrorContains(t, err, "TiDB 7.5")
}
