//go:build unix

package dialect_test

import (
	"testing"

	"github.com/XSAM/otelsql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/txn"
)

func TestMain(m *testing.M) { servers.Main(m) }

func everything() []matrix.Target {
	return append(append(matrix.All(), matrix.PgBouncer()...), matrix.Clusters()...)
}

func TestServer(t *testing.T) {
	matrix.Run(t, everything(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		src, err := dialect.NewSource(db, 0)
		require.NoError(t, err)
		server, err := src.Server(t.Context(), txn.Pool{DB: db})
		require.NoError(t, err)
		require.Equal(t, target.Dialect, server.Dialect)
		require.Equal(t, target.Dialect.String(), server.Product.String())
		require.NotZero(t, server.Major)
		t.Log(server)
	})
}

// A wrapped driver has another type, and the server is still the same.
func TestServerThroughOtelsql(t *testing.T) {
	matrix.Run(t, everything(), func(t *testing.T, target matrix.Target) {
		db, err := otelsql.Open(target.Driver, target.DSN(t))
		require.NoError(t, err)
		defer db.Close()
		src, err := dialect.NewSource(db, 0)
		require.NoError(t, err)
		server, err := src.Server(t.Context(), txn.Pool{DB: db})
		require.NoError(t, err)
		require.Equal(t, target.Dialect, server.Dialect)
	})
}

// Asking does not harm a transaction under way: on PostgreSQL a failed statement would end it, and SQLite has no
// version().
func TestServerInATransaction(t *testing.T) {
	matrix.Run(t, everything(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		db.SetMaxOpenConns(1)
		_, err := db.Exec("CREATE TABLE items (id INT PRIMARY KEY)")
		require.NoError(t, err)
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = tx.Exec("INSERT INTO items VALUES (1)")
		require.NoError(t, err)
		src, err := dialect.NewSource(db, 0)
		require.NoError(t, err)
		server, err := src.Server(t.Context(), txn.In(tx))
		require.NoError(t, err)
		require.Equal(t, target.Dialect, server.Dialect)
		require.NoError(t, tx.Commit())
		var n int
		require.NoError(t, db.QueryRow("SELECT count(*) FROM items").Scan(&n))
		require.Equal(t, 1, n)
	})
}

// A quoted name that is no column is an error everywhere, and no string literal, as it would be in double quotes on
// SQLite.
func TestQuotedNameThatIsNoColumn(t *testing.T) {
	matrix.Run(t, matrix.All(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		src, err := dialect.NewSource(db, 0)
		require.NoError(t, err)
		server, err := src.Server(t.Context(), txn.Pool{DB: db})
		require.NoError(t, err)
		for _, name := range []string{"Order Items", "select", "größe", "a-b", "x$1"} {
			table, err := dialect.Table(name)
			require.NoError(t, err)
			column, err := dialect.Column(name)
			require.NoError(t, err)
			wrong, err := dialect.Column("no such " + name)
			require.NoError(t, err)
			_, err = db.Exec("CREATE TABLE " + server.Quote(table) + " (" + server.Quote(column) + " INT PRIMARY KEY)")
			require.NoError(t, err)
			where := server.Compile("DELETE FROM " + server.Quote(table) + " WHERE " + server.Equals([]dialect.Ident{column}, 1))
			_, err = db.Exec(where.Text, where.Args([]any{1})...)
			require.NoError(t, err)
			where = server.Compile("DELETE FROM " + server.Quote(table) + " WHERE " + server.Equals([]dialect.Ident{wrong}, 1))
			_, err = db.Exec(where.Text, where.Args([]any{1})...)
			require.ErrorContains(t, err, wrong.String())
		}
	})
}
