// Package optimistic checks the gap between a read and the write that is decided from it. Every write has the
// condition that the row still has the version that was read, and the database applies it only then. Nobody waits for
// a lock while somebody else decides, and no write is lost: a writer who comes second starts again with what the
// first one wrote, or gets an error.
//
// # Use
//
// A Table reads and writes rows as structs. It needs a version column, in the simplest case
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
//   - [Table.Modify] is for decisions of the program. It loads the row, lets the program decide, writes the row, and
//     starts again until it wins.
//   - [Coalesce] in front of the Table is for rows that many callers want at once. Its Modify applies the functions of
//     all who wait to one loaded item, and writes them by one swap.
//   - [Table.Insert] is for a new row. It fills in the key that the server makes, and a version that is not a plain
//     number.
//   - [Table.Get] and [Table.Update] are for decisions of a person or another program, to whom the version is sent as an
//     ETag or a hidden field of a form. Only they can resolve a conflict, so Update does not try again: it returns a
//     [*ConflictError].
//   - [RetryOnVersionConflict] is for SQL of your own: a decision that reads or writes several rows or tables, for
//     example. [Table.WithTx] puts reads and writes of a Table into your transaction.
//
// If the new value follows from the old one in SQL, as in stock = stock - 1, package atomic does it in one statement.
// If the decision takes long or must not be made twice, package pessimistic keeps the others out meanwhile.
//
// # Versions
//
// The type of the field says what the version is:
//
//   - An integer is incremented by each write.
//   - A time.Time becomes the time of the write, or one microsecond more than the version before, whichever is later. So
//     two writes within one tick of the clock, or from machines whose clocks differ, still have different versions. The
//     column must keep microseconds: TIMESTAMP or TIMESTAMPTZ on PostgreSQL, DATETIME(6) on MySQL and MariaDB. So must
//     the driver: go-sql-driver has the setting timeTruncate, and the drivers of SQLite have settings for how they write
//     times. If the column or the driver keeps less, the first call returns an error.
//   - A string, a []byte or a UUID type with Scan and Value methods becomes a random token, a UUID of version 4. In a
//     string it has 36 characters, for a column such as UUID, CHAR(36) or TEXT. In a []byte it has 16 bytes, for BYTEA,
//     BINARY(16) or BLOB. A token shows for certain which write it is from.
//   - With VersionColumn("xmin"), the field is a uint32, an int64 or a string. It holds the number of the transaction
//     that wrote the row. PostgreSQL keeps it by itself, so the table needs no version column.
//
// A pointer or a type such as sql.NullInt64 can hold NULL, the version of a row that never had one. NULL is a version
// like any other then, and so is zero: the condition is never left out. To read NULL into a field that cannot hold it
// is an error.
//
// # Guarantees
//
// A write is applied if and only if the row has the version from which the write was decided, and then exactly once.
// Nothing is sent twice unless the server, or the driver, has said that it was not applied. If the connection is lost
// before the answer comes, a version that is a token is read back. If it is there, the write was applied. Otherwise
// the error is [nogap.ErrOutcomeUnknown]. After any error the struct is unchanged.
//
// [Table] has the list of errors, and says what the end of a context does.
//
// The version in a struct that was read from a committed row is never newer than that in the database. Outside a
// transaction it counts up when a write of the struct has won. In a transaction of the caller's (Table.WithTx) the
// struct keeps the version that it was read with, since the transaction, or a savepoint in it, may still be rolled
// back. So a second write of the same struct, there or after COMMIT, is a conflict: read the row again before.
//
// A Modify that changes nothing writes nothing, and causes no conflict for others who have read the version.
//
// When callers of Modify in one process have lost against each other, they queue for the row, in arrival order, and
// lose no more. Callers in several processes still lose against each other. With LockAfter, those who lost n times
// take the row lock.
//
// # Together on one table
//
// Everybody who writes a column that a Table writes must count the version up, in the same statement. Otherwise the
// Table does not see their write, and overwrites it with what it read. That holds for package atomic, for the
// callbacks of package pessimistic, for SQL of your own, and in other processes:
//
//	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("version"))
//	…
//	tx.ExecContext(ctx, "UPDATE items SET stock = stock - $1, version = version + 1 WHERE id = $2", n, id)
//
// Or the Table never writes the column, because T has no field for it, or with ReadOnly:
//
//	items, err := optimistic.NewTable[Item](db, "items", optimistic.ReadOnly("stock"))
//
// A Table and an atomic.Counter or State of one *sql.DB that would lose each other's writes are not both allowed. The
// one that is made second is refused by its constructor. If only the server knows that two spellings are one table,
// its first use is refused. That is so even if the first one is not used any more. Other writers are not seen, nor
// are those that write through a view. Package atomic cannot count up a timestamp or a token: use ReadOnly there.
// With xmin nothing is needed, since PostgreSQL changes it with every write.
//
// # Checks at the first use
//
// At its first use on a *sql.DB a Table asks the server once about its table. Then every method, also Get, returns an
// error in these cases:
//
//   - The table's engine has no transactions (MySQL, MariaDB).
//   - It is a view whose INSTEAD OF trigger, or a relation whose DO INSTEAD rule, replaces UPDATE. If only DELETE is
//     replaced, Delete alone returns the error, and if only INSERT is replaced, Insert alone does.
//   - The column or the driver cuts a timestamp that is the version.
//   - The session does not commit by itself (autocommit=0, completion_type). With WithTx this is no error.
//
// Later changes of the schema are not seen. The module's page [docs/what-is-checked.md] has the details.
//
// # Limits
//
// Everybody who writes the row must change its version. Only xmin changes by itself. A trigger may set a timestamp on
// PostgreSQL. If a trigger sets any other version, or any version on SQLite, the next Update of the same struct is a
// conflict. Modify reads the row again and is not affected.
//
// A trigger that puts the old version back, or the whole old row, makes every write an error on PostgreSQL, and
// nothing is written. On MySQL, MariaDB and SQLite this is only seen if no column changes at all; otherwise every
// writer would win. What else a trigger changes is not seen: Get returns it.
//
// A row that is deleted and inserted again with the same number has the same version. Where that happens, use a
// token.
//
// A value that does not fit its column is an error. MySQL and MariaDB would store a shortened value if the sql_mode
// is not strict. There the statements that write are run in a strict sql_mode (SET_VAR, SET STATEMENT). MySQL before
// 8.0 and TiDB can't do that, and the first use returns an error that says so.
//
// A version protects its own row only. A rule about several rows, such as a sum that must not pass a limit, needs one
// row that every writer changes, or a transaction with isolation level SERIALIZABLE in RetryOnVersionConflict.
//
// Reads may come from a replica only if a stale row does no harm: Update returns a conflict for it, and Modify would
// load the same stale row again.
//
// [docs/what-is-checked.md]: https://github.com/nogap-go/nogap/blob/main/docs/what-is-checked.md
package optimistic
