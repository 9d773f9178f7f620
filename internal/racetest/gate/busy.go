package gate

import "github.com/nogap-go/nogap/internal/sqlerr"

// Busy reports whether a statement failed because another connection holds a lock of SQLite's (SQLITE_BUSY,
// SQLITE_LOCKED_SHAREDCACHE). It has done nothing, and can be sent again when the other one has gone on. A transaction that has read
// before another one wrote (SQLITE_BUSY_SNAPSHOT) is not meant: it can't go on.
func Busy(err error) bool { return sqlerr.Of(err).Has(sqlerr.Retry | sqlerr.LockBusy) }
