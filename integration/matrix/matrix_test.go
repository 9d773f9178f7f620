//go:build unix

package matrix_test

import (
	"database/sql"
	"os"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// The whole matrix is what scripts/test.sh asks for, with the build flags that it takes: a run without them would leave
// a driver out in silence.
func TestMatrixIsComplete(t *testing.T) {
	want := []string{"postgres/pgx", "mariadb/changed-rows", "galera"}
	if !servers.Newest() {
		want = append(want, "postgres/pq", "mariadb/found-rows", "mariadb/snapshot")
		want = append(want, "postgres/pgx/one-connection", "postgres/pgxpool", "postgres/simple-protocol", "mariadb/changed-rows/one-connection")
		want = append(want, "sqlite/modernc", "sqlite/mattn", "sqlite/modernc/one-connection")
		if os.Getenv("NOGAP_WHOLE_MATRIX") != "" {
			want = append(want, "sqlite/ncruces")
		}
		if servers.HasMySQL() || os.Getenv("CI") == "true" {
			want = append(want, "mysql/changed-rows", "mysql/found-rows", "mysql/changed-rows/one-connection", "group-replication")
		}
	}
	var got []string
	for _, target := range append(matrix.Conformance(), matrix.Clusters()...) {
		got = append(got, target.Name)
	}
	require.Subset(t, got, want)
}

func TestEachDatabaseIsFreshAndPrivate(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for range 2 { // at once, and one after the other
			t.Run("", func(t *testing.T) {
				for range 2 {
					exec(t, target.Open(t), "CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)")
				}
			})
		}
	})
}

// A database that another test has used has nothing left of it.
func TestPostgresIsWiped(t *testing.T) {
	matrix.Run(t, append(matrix.Postgres(), matrix.PgBouncer()...), func(t *testing.T, target matrix.Target) {
		for range 2 {
			t.Run("", func(t *testing.T) {
				db := target.Open(t)
				for _, statement := range []string{
					`CREATE SCHEMA "Another one"`,
					`CREATE TABLE "Another one".items (id serial PRIMARY KEY)`,
					`CREATE TYPE mood AS ENUM ('happy')`,
					`CREATE TABLE items (id serial PRIMARY KEY, mood mood)`,
					`CREATE VIEW happy AS SELECT * FROM items JOIN "Another one".items AS other USING (id)`,
					`CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
				} {
					exec(t, db, statement)
				}
			})
		}
	})
}

func TestConnectSharesTheDatabase(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		first, second := target.Connect(t, dsn), target.Connect(t, dsn)
		_, err := first.Exec("CREATE TABLE items (id int PRIMARY KEY)")
		require.NoError(t, err)
		var n int
		require.NoError(t, second.QueryRow("SELECT count(*) FROM items").Scan(&n))
	})
}

// The dialect is the server's own word for itself.
func TestDialect(t *testing.T) {
	contains := map[nogap.Dialect]string{nogap.Postgres: "PostgreSQL", nogap.MariaDB: "MariaDB"}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		var version string
		if target.Dialect == nogap.SQLite {
			require.NoError(t, db.QueryRow("SELECT sqlite_version()").Scan(&version))
			return
		}
		require.NoError(t, db.QueryRow("SELECT version()").Scan(&version))
		require.Contains(t, version, contains[target.Dialect])
	})
}

// An UPDATE that sets what is there already affects the row that it found, or on MySQL's protocol none.
func TestAffectedRows(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)")
		exec(t, db, "INSERT INTO items VALUES (1, 5)")
		want := int64(1)
		switch target.Name {
		case "mariadb/changed-rows", "mariadb/snapshot", "mysql/changed-rows":
			want = 0
		}
		require.Equal(t, want, exec(t, db, "UPDATE items SET stock = 5 WHERE id = 1"))
	})
}

// With snapshot isolation MariaDB refuses to change, or to lock, a row that has changed since the transaction's snapshot. It is the
// default of the newest.
func TestMariaDBSnapshotIsolation(t *testing.T) {
	want := "mariadb/snapshot"
	if servers.Newest() {
		want = "mariadb/changed-rows"
	}
	for _, target := range matrix.MariaDB() {
		if target.Name != want {
			continue
		}
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)")
		exec(t, db, "INSERT INTO items VALUES (1, 5)")
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		var stock int
		require.NoError(t, tx.QueryRow("SELECT stock FROM items").Scan(&stock))
		exec(t, db, "UPDATE items SET stock = 4")
		var changed *mysql.MySQLError
		require.ErrorAs(t, tx.QueryRow("SELECT stock FROM items FOR UPDATE").Scan(&stock), &changed)
		require.EqualValues(t, 1020, changed.Number)
		return
	}
	t.Fatal("the target is gone")
}

// Writers wait for each other everywhere, SQLite included, and none is refused.
func TestConcurrentWriters(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)")
		exec(t, db, "INSERT INTO items VALUES (1, 0)")
		const writers, writes = 20, 10
		errs := make(chan error, writers*writes)
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range writes {
					_, err := db.Exec("UPDATE items SET stock = stock + 1 WHERE id = 1")
					errs <- err
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		var stock int
		require.NoError(t, db.QueryRow("SELECT stock FROM items").Scan(&stock))
		require.Equal(t, writers*writes, stock)
	})
}

func exec(t *testing.T, db *sql.DB, query string) (affected int64) {
	t.Helper()
	result, err := db.Exec(query)
	require.NoError(t, err)
	affected, err = result.RowsAffected()
	require.NoError(t, err)
	return affected
}

// What PgBouncer is there for: between transactions a connection of the client has none of the server.
func TestPgBouncerPoolsTransactions(t *testing.T) {
	matrix.Run(t, matrix.PgBouncer(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		backend := func(tx *sql.Tx) (pid int) {
			require.NoError(t, tx.QueryRow("SELECT pg_backend_pid() WHERE 1 = $1", 1).Scan(&pid))
			return pid
		}
		first, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer first.Close()
		tx, err := first.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		pid := backend(tx)
		require.NoError(t, tx.Commit())

		second, err := db.Conn(t.Context())
		require.NoError(t, err)
		defer second.Close()
		tx, err = second.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, pid, backend(tx), "the second client got the server connection that the first one gave back")
		require.NoError(t, tx.Commit())
	})
}

func TestPgBouncerConcurrentWriters(t *testing.T) {
	matrix.Run(t, matrix.PgBouncer(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)")
		exec(t, db, "INSERT INTO items VALUES (1, 0)")
		errs := make(chan error, 400)
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				for range 10 {
					_, err := db.Exec("UPDATE items SET stock = stock + $1 WHERE id = $2", 1, 1)
					errs <- err
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		var stock int
		require.NoError(t, db.QueryRow("SELECT stock FROM items").Scan(&stock))
		require.Equal(t, 400, stock)
	})
}

// The nodes replicate both ways, and of two transactions that change one row on two nodes, one loses.
func TestClusterReplicates(t *testing.T) { matrix.EachCluster(t, testClusterReplicates) }

func testClusterReplicates(t *testing.T, cluster matrix.Cluster) {
	nodes := cluster.Nodes(t)
	exec(t, nodes[0], "CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL)")
	exec(t, nodes[0], "INSERT INTO items VALUES (1, 10)")
	stock := func(node *sql.DB) (stock int) {
		cluster.CatchUp(t, node)
		require.NoError(t, node.QueryRow("SELECT stock FROM items WHERE id = 1").Scan(&stock))
		return stock
	}
	require.Equal(t, 10, stock(nodes[1]))
	exec(t, nodes[1], "UPDATE items SET stock = 9")
	require.Equal(t, 9, stock(nodes[0]))

	var txs []*sql.Tx
	for _, node := range nodes {
		tx, err := node.Begin()
		require.NoError(t, err)
		_, err = tx.Exec("UPDATE items SET stock = stock - 1 WHERE id = 1")
		require.NoError(t, err, "row locks are local to a node")
		txs = append(txs, tx)
	}
	require.NoError(t, txs[0].Commit())
	var lost *mysql.MySQLError
	require.ErrorAs(t, txs[1].Commit(), &lost)
	require.Contains(t, []uint16{1213, 3101, 1180}, lost.Number)
	require.Equal(t, 8, stock(nodes[1]))
}
