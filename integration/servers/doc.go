// Package servers gives the tests of nogap the servers that they need: PostgreSQL, MariaDB, MySQL, PgBouncer, a Galera
// cluster, MySQL Group Replication, Redis with replicas, Redis Cluster and Redis Sentinel. A test asks for one and gets
// it running:
//
//	func TestMain(m *testing.M) { servers.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		dsn := servers.Postgres(t)       // one server for the whole test binary, started by the first who asks
//		nodes := servers.StartRedis(t, 3) // three of this test alone, which it may pause and kill
//	}
//
// So a single test runs with go test -run and nothing else, and starts no server that it does not use. Most tests want
// package matrix, which runs a function on every database and driver.
//
// # Servers of its own
//
// They listen on free loopback ports and keep their data in a temporary directory. Durability against a power cut is
// switched off (fsync and its like), because the data is thrown away; a server that is killed and started again still
// has everything that it acknowledged. The servers refuse to run as root: there they run as postgres, mysql, redis or
// nobody, else as the current user. They end with the test binary, however it ends: each server has a watchdog that
// waits for the death of the binary, SIGKILL included, then kills the server and removes its directory.
//
// A server that is started with StartPostgresOnDisk and its like has its data on a small disk of its own, which a test may
// fill. It is a tmpfs in a mount namespace that nobody else is in, so nothing stays mounted. It needs root with CAP_SYS_ADMIN
// or a kernel that lets other users have user namespaces: see CanMount.
//
// A server whose program is missing fails the test with the name of the Debian package to install. No test is skipped.
//
// MySQL is one that scripts/fetch-servers.sh has unpacked in a directory of its own: NOGAP_SERVERS, or what the script
// chooses. If NOGAP_NEWEST is set, PostgreSQL, MariaDB, Galera and Redis are also such servers, newer than those of the system.
//
// If NOGAP_SERVERS_RAN names a file, each server that a test gets adds a line with its version to it.
//
// # Servers of yours
//
// These environment variables name servers to use in place of those that the package would start:
//
//	NOGAP_POSTGRES_DSN   postgres://user:password@host:port/database, a URL; the user may create databases
//	NOGAP_MARIADB_DSN    user:password@tcp(host:port)/, as for go-sql-driver; the user may create databases
//	NOGAP_MYSQL_DSN      the same for MySQL
//	NOGAP_REDIS_ADDRS    host:port,host:port,... of independent Redis servers
//	NOGAP_PGBOUNCER_DSN  postgres://..., a PgBouncer in transaction pooling, passing any database on
//	NOGAP_GALERA_DSNS    the DSN of each node of one cluster, separated by spaces
//	NOGAP_GROUP_REPLICATION_DSNS  the same for the members of one group, all of them primaries
//
// Tests that pause, kill or restart a server never do that to one of yours: they start one of their own.
package servers
