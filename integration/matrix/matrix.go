//go:build unix

// Package matrix is the one list of the databases and drivers that nogap is tested on. A test that must hold on all of
// them is a function of a Target:
//
//	func TestCounter(t *testing.T) {
//		matrix.Each(t, func(t *testing.T, target matrix.Target) {
//			db := target.Open(t) // a fresh, empty, private database
//			...
//		})
//	}
//
// To run it on one of them: go test -run 'TestCounter/postgres/pgx', 'TestCounter/sqlite' and so on. Only the servers
// that the chosen targets need are started (package servers, which also says how to use running ones).
//
// # The driver of ncruces
//
// It and mattn's register themselves under the same name, which database/sql answers with a panic. So it is part of the
// matrix only if the linker gives it another name, which scripts/test.sh does:
//
//	go test -tags ncruces -ldflags '-X github.com/ncruces/go-sqlite3/driver.driverName=ncruces' ./...
package matrix

import (
	"database/sql"
	"errors"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/leak"
	"github.com/nogap-go/nogap/integration/servers"
)

// Target is a database reached with a driver.
type Target struct {
	Name    string        // of the subtest, such as "postgres/pgx"
	Dialect nogap.Dialect // what the server speaks
	Driver  string        // the driver's name for sql.Open

	fresh   func(testing.TB) (dsn string)
	open    func(tb testing.TB, dsn string) *sql.DB // nil is sql.Open
	maxOpen int                                     // connections of a pool
}

// Each runs a test on every target, one after the other.
func Each(t *testing.T, test func(*testing.T, Target)) {
	t.Helper()
	Run(t, All(), test)
}

// Run runs a test on some targets, one after the other.
func Run(t *testing.T, targets []Target, test func(*testing.T, Target)) {
	t.Helper()
	require.NotEmpty(t, targets)
	for _, target := range targets {
		t.Run(target.Name, func(t *testing.T) { test(t, target) })
	}
}

// Parallel runs a test on some targets, as many at the same time as go test's -parallel says. It is for tests that mostly wait.
func Parallel(t *testing.T, targets []Target, test func(*testing.T, Target)) {
	t.Helper()
	Run(t, targets, func(t *testing.T, target Target) {
		t.Parallel()
		test(t, target)
	})
}

// All returns the targets that everything must work on. With NOGAP_NEWEST they are those of which there is a newest
// version: the others are tested without it.
func All() []Target {
	var all []Target
	all = append(all, Postgres()...)
	all = append(all, MariaDB()...)
	if servers.Newest() {
		return all
	}
	all = append(all, MySQL()...)
	all = append(all, SQLite()...)
	return all
}

// ways returns the targets of a server, and with NOGAP_NEWEST the first of them: the others differ in what a driver does, whatever
// the server.
func ways(targets []Target) []Target {
	if servers.Newest() {
		return targets[:1]
	}
	return targets
}

// Conformance returns what All does, and other ways to reach those databases: pgx over a pgxpool or with the simple
// protocol, and pools of one connection. It is for the tests that say what a package is for. Such a test must not need a
// second connection itself. With NOGAP_NEWEST it returns All: these ways are the drivers' own, whatever the server.
func Conformance() []Target {
	all := All()
	if servers.Newest() {
		return all
	}
	return append(append(all, pgxWays()...), oneConnection(all)...)
}

// oneConnection returns one target of each server, and of SQLite, with pools of one connection.
func oneConnection(targets []Target) (single []Target) {
	done := map[nogap.Dialect]bool{}
	for _, target := range targets {
		if !done[target.Dialect] {
			done[target.Dialect] = true
			target.Name += "/one-connection"
			target.maxOpen = 1
			single = append(single, target)
		}
	}
	return single
}

// Open returns a pool of connections to a fresh, empty database that nobody else uses. At the end of the test it fails
// the test if connections are still in use, closes the pool and drops the database.
func (target Target) Open(tb testing.TB) *sql.DB {
	tb.Helper()
	return target.Connect(tb, target.DSN(tb))
}

// DSN makes a fresh, empty database that nobody else uses and returns its DSN. At the end of the test it is dropped.
func (target Target) DSN(tb testing.TB) string {
	tb.Helper()
	return target.fresh(tb)
}

// Connect returns one more pool of connections to the database of a DSN, for tests that play several processes. At the
// end of the test it fails the test if connections are still in use, and closes the pool.
func (target Target) Connect(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	open := target.open
	if open == nil {
		open = target.sqlOpen
	}
	db := open(tb, dsn)
	db.SetMaxOpenConns(target.maxOpen)
	tb.Cleanup(func() {
		leak.Connections(tb, db)
		// An old lib/pq complains of a connection that the server has ended before.
		if err := db.Close(); !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
			require.NoError(tb, err)
		}
	})
	require.NoError(tb, db.Ping())
	return db
}

func (target Target) sqlOpen(tb testing.TB, dsn string) *sql.DB {
	tb.Helper()
	db, err := sql.Open(target.Driver, dsn)
	require.NoError(tb, err)
	// Idle connections are kept: with the default of 2, a test with many goroutines would spend its time on connecting.
	db.SetMaxIdleConns(target.maxOpen)
	return db
}
