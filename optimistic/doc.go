// Package optimistic checks the gap between a read and the write decided from it. Every write has the condition that the
// row still has the version that was read, and the database applies it only then. Nobody waits for a lock while somebody
// thinks, and no write is lost: a writer who comes second starts again with what the first one wrote, or gets an error.
//
// # Use
//
// A [Table] reads and writes rows as structs. It needs a version column, in the simplest case
//
//	ALTER TABLE items ADD COLUMN version BIGINT NOT NULL DEFAULT 0
//
// and a field for it:
//
//	type Item struct {
//		ID      int64 `db:"id"`
//		Stock   int64 `db:"stock"`
//		Version int64 `db:"version"`
//	}
//
//	items, err := optimistic.NewTable[Item](db, "items")
//	item, err := items.Modify(ctx, func(it *Item) error { it.Stock--; return nil }, id)
//
// # Which call
//
//   - [Table.Modify] when the program decides: it loads the row, lets the program decide, writes the row, and starts again
//     until it wins.
//   - [Table.Insert] for a new row. The key that the server makes, and a version that is not a plain number, are filled in.
//   - [Table.Get] and [Table.Update] when a person or another program decides in between, and the version is sent along as
//     an ETag or a hidden field of a form. They must resolve a conflict themselves, so it is not retried: it is a
//     [*ConflictError].
//   - [RetryOnVersionConflict] around SQL of your own: a decision that reads or writes several rows, say, or tables. For
//     those, [Table.WithTx] puts reads and writes of a Table into your transaction.
//
// If the new value follows from the old one in SQL, as in stock = stock - 1, package atomic does it in one statement. If
// the decision takes long or must not be made twice, package pessimistic keeps the others out meanwhile.
//
// # Versions
//
// The type of the field says what the version is:
//
//   - An integer is incremented by each write.
//   - A [time.Time] becomes the time of the write, or a microsecond more than the version before, whichever is later: two
//     writes within one tick of the clock, or from machines whose clocks differ, still have different versions. The
//     column must keep microseconds: TIMESTAMP or TIMESTAMPTZ on PostgreSQL, DATETIME(6) on MySQL and MariaDB. So must
//     the driver: go-sql-driver has the setting timeTruncate, and those of SQLite have settings for how they write times. If
//     one keeps fewer, the first call returns an error.
//   - A string, a []byte or a UUID type with Scan and Value methods becomes a random token, a UUID of version 4: of 36
//     characters in a string, for a column such as UUID, CHAR(36) or TEXT, and of 16 bytes in a []byte, for BYTEA,
//     BINARY(16) or BLOB. A token shows for certain which write it is from.
//   - With VersionColumn("xmin"), the field is a uint32, an int64 or a string and holds the number of the transaction that
//     wrote the row, which PostgreSQL keeps by itself: the table needs no version column.
//
// A pointer or a type such as [sql.NullInt64] can hold NULL, the version of a row that never had one. NULL is a version
// like any other then, and so is zero: no value leaves the condition out. Reading NULL into a field that cannot hold it
// is an error.
//
// # Guarantees
//
// A write is applied if and only if the row has the version that the write was decided from, and then exactly once:
// nothing is sent twice unless the server, or the driver, has said that it was not applied. If the connection is lost
// before the answer comes, a token is read back. If it is there, the write was applied; else the error is
// nogap.ErrOutcomeUnknown. After any error the struct is unchanged.
//
// A struct that was read from a committed row never says more than the database. Outside a transaction its version counts
// up when its write has won. In a transaction of the caller's ([Table.WithTx]) it keeps the version that it was read with,
// since the transaction, or a savepoint in it, may still be rolled back. So a second write of the same struct, there or
// after COMMIT, is a conflict: read the row again before.
//
// A Modify that changes nothing writes nothing, and is no conflict for others who hold the version.
//
// If a row is gone, the error is sql.ErrNoRows. If a context ends, the error satisfies errors.Is for the context's error.
//
// When callers of Modify in one process have lost against each other, they queue for the row, in arrival order, and lose
// no more. Callers in several processes still lose against each other; with [LockAfter], those who lost n times take the
// row lock.
//
// # Together on one table
//
// Everybody who writes a column that a Table writes must count the version up, in the same statement. Otherwise the Table
// does not see their write, and overwrites it with what it read. That holds for package atomic, for the callbacks of
// package pessimistic, for SQL of your own, and in other processes:
//
//	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("version"))
//	…
//	tx.ExecContext(ctx, "UPDATE items SET stock = stock - $1, version = version + 1 WHERE id = $2", n, id)
//
// The other way out is a Table that never writes the column, since T has no field for it, or with [ReadOnly]:
//
//	items, err := optimistic.NewTable[Item](db, "items", optimistic.ReadOnly("stock"))
//
// A Table and an atomic.Counter or State of one *sql.DB that would lose each other's writes are not both allowed: the one
// that is made second is refused, by its constructor, or by its first use if only the server knows that two spellings are
// one table. That is so even if the first one is used no more. Other writers are not seen, nor those that
// write through a view. A timestamp or a token cannot be counted up by package atomic: use ReadOnly there. With xmin nothing
// is needed, since PostgreSQL changes it with every write.
//
// # The first look
//
// At its first use on a *sql.DB a Table asks the server once what its table is. Every method, also Get, returns an error
// for an engine without transactions (MySQL, MariaDB), for a view whose INSTEAD OF trigger, or a relation whose DO
// INSTEAD rule, replaces UPDATE, for a timestamp that the column or the driver cuts, and, without WithTx, for a session
// that does not commit by itself (autocommit=0, completion_type). Delete alone returns the error where only DELETE is
// replaced, and Insert where only INSERT is. What becomes of the schema later is not seen. The module's page docs/what-is-checked.md has the details.
//
// # Limits
//
// Everybody who writes the row must change its version; only xmin changes by itself. A trigger
// may set a timestamp on PostgreSQL. Any other version that a trigger sets, and any on SQLite, makes the next Update of
// the same struct a conflict; Modify reads the row again and is not affected.
//
// A trigger that puts the old version back, or the whole old row, makes every write an error on PostgreSQL, and nothing is
// written. MySQL, MariaDB and SQLite show that only if no column changes at all: otherwise every writer would win. What else
// a trigger changes is not seen: Get returns it.
//
// A row that is deleted and inserted again with the same number has the same version: where that happens, use a token. On
// MySQL and MariaDB the sql_mode must be strict, as it is by default: otherwise a number that does not fit its column is
// cut to the highest one, and the version does not change any more.
//
// A version protects its own row only. A rule about several rows, such as a sum that must not pass a limit, needs one row
// that every writer changes, or a transaction with isolation level SERIALIZABLE in RetryOnVersionConflict.
//
// Reads may come from a replica only if a stale row does no harm: Update returns a conflict for it, and Modify would load
// the same stale row again.
package optimistic
