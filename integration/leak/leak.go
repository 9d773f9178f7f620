// Package leak finds the database connections that a test leaves in use. Goroutines left behind are the business of
// servers.Main, which every package's TestMain calls.
package leak

import (
	"database/sql"
	"testing"
	"time"
)

// patience is how long a connection may take to come back: database/sql rolls a cancelled transaction back in another
// goroutine.
const patience = 30 * time.Second

// Connections fails the test if a connection of db stays in use: somebody began a transaction, or took rows or a
// connection, and never gave it back.
func Connections(tb testing.TB, db *sql.DB) {
	tb.Helper()
	if n := inUse(db, patience); n != 0 {
		tb.Errorf("leak: %d connections are still in use", n)
	}
}

// inUse returns how many connections are in use after the patience ran out, or 0 as soon as there are none.
func inUse(db *sql.DB, patience time.Duration) int {
	deadline := time.Now().Add(patience)
	for {
		n := db.Stats().InUse
		if n == 0 || time.Now().After(deadline) {
			return n
		}
		time.Sleep(time.Millisecond)
	}
}
