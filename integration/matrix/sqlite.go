//go:build unix

package matrix

import (
	"net/url"
	"path/filepath"
	"testing"

	_ "github.com/mattn/go-sqlite3" // registers sqlite3
	_ "modernc.org/sqlite"          // registers sqlite

	"github.com/nogap-go/nogap"
)

// sqlitePool is how many connections a pool to an SQLite file takes at most. One of them can write at a time.
const sqlitePool = 8

// Every connection waits for the write lock for up to half a minute, since the wait is not fair, and the file has a
// write-ahead log, so that readers and the writer do not wait for each other.
const (
	// modernc and ncruces run _pragma in each new connection, busy_timeout first.
	pragmas = "?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"
	// mattn has parameters of its own.
	mattnPragmas = "?_busy_timeout=30000&_journal_mode=WAL&_synchronous=NORMAL"
)

// SQLite returns SQLite with each of its drivers, on a file. The driver of ncruces is among them only under the build
// tag ncruces: see the package.
func SQLite() []Target {
	return append([]Target{
		{Name: "sqlite/modernc", Dialect: nogap.SQLite, Driver: "sqlite", fresh: freshFile(pragmas), maxOpen: sqlitePool},
		{Name: "sqlite/mattn", Dialect: nogap.SQLite, Driver: "sqlite3", fresh: freshFile(mattnPragmas), maxOpen: sqlitePool},
	}, ncruces()...)
}

func freshFile(pragmas string) func(testing.TB) string {
	return func(tb testing.TB) string {
		tb.Helper()
		// The name of the directory has what the test's name has, # and % too.
		path := url.URL{Path: filepath.Join(tb.TempDir(), "nogap.db")}
		return "file:" + path.EscapedPath() + pragmas
	}
}
