//go:build unix

package servers_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestSQLServersAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, driver string
		dsn          func(testing.TB) string
	}{
		{"postgres/pgx", "pgx", servers.Postgres},
		{"postgres/pq", "postgres", servers.Postgres},
		{"mariadb", "mysql", servers.MariaDB},
		{"mysql", "mysql", servers.MySQL},
	} {
		if tt.name == "mysql" && !servers.HasMySQL() {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			dsn := tt.dsn(t)
			require.Equal(t, dsn, tt.dsn(t), "the second who asks gets the same server")
			var version string
			require.NoError(t, open(t, tt.driver, dsn).QueryRow("SELECT version()").Scan(&version))
			t.Log(version)
		})
	}
}

// A server that is killed comes back with what it acknowledged.
func TestRestartKeepsWhatWasCommitted(t *testing.T) {
	for _, tt := range []struct {
		name, driver string
		start        func(testing.TB) *servers.Server
		database     string
	}{
		{"postgres", "pgx", func(tb testing.TB) *servers.Server { return servers.StartPostgres(tb) }, ""},
		{"mariadb", "mysql", func(tb testing.TB) *servers.Server { return servers.StartMariaDB(tb) }, "mysql"},
		{"mysql", "mysql", servers.StartMySQL, "mysql"},
	} {
		if tt.name == "mysql" && !servers.HasMySQL() {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			s := tt.start(t)
			db := open(t, tt.driver, s.DSN+tt.database)
			_, err := db.Exec("CREATE TABLE kept (v int)")
			require.NoError(t, err)
			_, err = db.Exec("INSERT INTO kept VALUES (42)")
			require.NoError(t, err)
			s.Kill(t)
			require.Error(t, db.Ping())
			s.Restart(t)
			var v int
			require.NoError(t, db.QueryRow("SELECT v FROM kept").Scan(&v))
			require.Equal(t, 42, v)
		})
	}
}

func TestRedis(t *testing.T) {
	nodes := servers.StartRedis(t, 2)
	var clients []*redis.Client
	for _, node := range nodes {
		client := redis.NewClient(&redis.Options{Addr: node.Addr, MaxRetries: -1, ContextTimeoutEnabled: true})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		clients = append(clients, client)
	}
	ctx := t.Context()
	require.NoError(t, clients[0].Set(ctx, "k", "v", 0).Err())
	require.ErrorIs(t, clients[1].Get(ctx, "k").Err(), redis.Nil, "the servers are independent")

	nodes[0].Pause(t)
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	err := clients[0].Get(short, "k").Err()
	late := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	require.True(t, late, "a paused server answers nothing: %v", err)
	require.NoError(t, clients[1].Ping(ctx).Err(), "the other is not paused")
	nodes[0].Resume(t)
	require.Equal(t, "v", clients[0].Get(ctx, "k").Val(), "a paused server forgets nothing")

	nodes[0].Kill(t)
	require.Error(t, clients[0].Ping(ctx).Err())
	nodes[0].Restart(t)
	require.ErrorIs(t, clients[0].Get(ctx, "k").Err(), redis.Nil, "a restarted server is empty")
}

func TestRedisCluster(t *testing.T) {
	nodes := servers.StartRedisCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{nodes[0].Addr}})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	for i := range 100 {
		require.NoError(t, client.Set(t.Context(), strconv.Itoa(i), "v", 0).Err())
	}
	for _, node := range nodes {
		one := redis.NewClient(&redis.Options{Addr: node.Addr})
		t.Cleanup(func() { require.NoError(t, one.Close()) })
		require.NotZero(t, one.DBSize(t.Context()).Val(), "each node has its share")
	}
}

// A sentinel makes the replica of a master that has gone the new master.
func TestRedisSentinel(t *testing.T) {
	master := servers.StartRedis(t, 1)[0]
	servers.StartRedisReplica(t, master)
	sentinel := servers.StartRedisSentinel(t, master)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: servers.SentinelMaster, SentinelAddrs: []string{sentinel.Addr},
	})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	require.NoError(t, client.Set(t.Context(), "k", "v", 0).Err())
	require.EqualValues(t, 1, client.Wait(t.Context(), 1, 10*time.Second).Val(), "the replica has it")
	master.Kill(t)
	require.Eventually(t, func() bool { return client.Get(t.Context(), "k").Val() == "v" }, time.Minute, 10*time.Millisecond)
}

// A node that has lost the majority answers that it is not ready.
func TestGaleraWithoutQuorum(t *testing.T) {
	t.Parallel() // it waits most of the time
	nodes := servers.StartGalera(t, 2)
	db := open(t, "mysql", nodes[0].DSN)
	_, err := db.Exec("CREATE DATABASE replicated")
	require.NoError(t, err)
	nodes[1].Kill(t)
	require.Eventually(t, func() bool {
		_, err := db.Exec("SELECT * FROM replicated.items")
		var refused *mysql.MySQLError
		return errors.As(err, &refused) && refused.Number == 1047
	}, time.Minute, 100*time.Millisecond)
}

// What is on the disk of a server stays when it is killed, a full one refuses, and nobody else sees it.
func TestDisk(t *testing.T) {
	t.Parallel()
	if err := servers.CanMount(); err != nil {
		t.Log("no server has a disk of its own here: ", err)
		return
	}
	s := servers.StartPostgresOnDisk(t, 24)
	db := open(t, "pgx", s.DSN)
	_, err := db.Exec("CREATE TABLE filler (text TEXT)")
	require.NoError(t, err)
	const fill = "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 100)"
	_, err = db.Exec(fill)
	require.NoError(t, err)
	mounts, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	require.NotContains(t, string(mounts), "nogap-postgres-")
	s.FillDisk(t)
	_, err = db.Exec(fill)
	require.ErrorContains(t, err, "No space left on device")
	s.EmptyDisk(t)
	s.Restart(t)
	var n int
	require.NoError(t, open(t, "pgx", s.DSN).QueryRow("SELECT count(*) FROM filler").Scan(&n))
	require.Equal(t, 100, n)
}
