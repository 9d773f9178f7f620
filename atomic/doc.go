// Package atomic closes the gap between a read and the write that is decided from it: both are one guarded statement,
// so nothing can happen in between. Try it first. It needs no version column, it holds no lock longer than the
// statement, and a change that succeeds costs one round trip.
//
//	stock, err := atomic.NewCounter[int64](db, "items", "stock")
//	left, err := stock.DecrementIfPositive(ctx, "sku-1")
//	switch {
//	case err == nil:
//	case errors.Is(err, atomic.ErrInsufficient): // sold out; left is the stock that is there
//	case errors.Is(err, sql.ErrNoRows):          // no such item
//	case errors.Is(err, nogap.ErrOutcomeUnknown): // sold or not: look before you sell again
//	default: // nothing was written
//	}
//
// # Which type
//
//   - [Counter] is for numbers that may not pass a limit: stock, balances, quotas. [Counter.DecrementAll] takes a whole
//     cart, and [Counter.Transfer] moves money. [CreateMissing] inserts missing rows, for numbers of a day, a user or a
//     series.
//   - [Coalescer] does the same for integers in rows that hundreds of callers of one process want at once.
//   - [Set] is for rows that are there once or not at all: likes, memberships, events that were handled.
//   - [State] is for a status that one caller may move on: orders, jobs, tickets.
//   - [SingleUse] is for rows that may be used once, within their time: codes to reset a password, refresh tokens,
//     invitations.
//
// [Where] adds a condition over the other columns of the row, such as a coupon's limit or an account that is not
// closed. For a rule that needs more than one row use package pessimistic or package transaction.
//
// # Guarantees
//
// A change is made once or not at all. A statement that may have reached the server is never sent again. If its
// answer is lost, the error is [nogap.ErrOutcomeUnknown]. After any other error nothing was written. (database/sql
// itself may send a statement again, see https://github.com/golang/go/issues/11978. So every statement of this
// package uses one connection that it has reserved.) A change that the server has undone is tried again: after a
// deadlock, a serialization failure, a lost certification on a cluster, or when SQLite was busy.
//
// [Counter] has the list of errors, and says what the end of a context does.
//
// All methods of all processes on one row are linearizable if the database is. PostgreSQL, MySQL, MariaDB and SQLite
// are, on one primary. On a cluster with several primaries (MariaDB Galera, MySQL Group Replication) writes are
// linearizable, and the value that a refusal reports may be a moment old.
//
// On Galera some calls return an error unless the driver's DSN has interpolateParams=true: Transfer, DecrementAll,
// IncrementAll, every call with WithTx, changes that are read back (those of decimals, and of tables with triggers
// BEFORE UPDATE), and rows that CreateMissing inserts under a Where. See [docs/galera-lost-abort.md].
//
// # Together on one table
//
// Package optimistic reads a row, lets its caller change it, and writes it back if the row still has its version. So
// every other writer of these columns must count the version up:
//
//	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("version"))
//
// Otherwise the changes of a Counter, a Coalescer or a State between the read and the write are lost. Or the Table
// never writes the column, with optimistic.ReadOnly("stock").
//
// A Counter, a State or a SingleUse (the column of UsedAt) without VersionColumn and an optimistic.Table of the same
// *sql.DB must not write the same column. The one that is made second is refused by its constructor. If only the
// server knows that two spellings are one table, its first use is refused. The first one goes on working. A Table
// that compares xmin needs nothing, since PostgreSQL changes xmin with every write. Writers with another *sql.DB, in
// another process or with SQL of your own are not seen. They must count the version up as well.
//
// # Checks at the first use
//
// At its first use on a *sql.DB each value of this package asks the server once about its table. Then methods return
// an error in these cases:
//
//   - The table's engine has no transactions (MySQL, MariaDB).
//   - The session does not commit by itself (autocommit=0, completion_type). With WithTx this is no error.
//   - An INSTEAD OF trigger or a DO INSTEAD rule would replace the method's statement. That is UPDATE for Counter,
//     State, Coalescer and SingleUse, INSERT for Set.Add and CreateMissing, and DELETE for Set.Remove and DeleteUsed.
//   - A State has times, and the driver cuts their microseconds.
//
// Later changes of the schema are not seen. The module's page [docs/what-is-checked.md] has the details.
//
// # Triggers
//
// A Counter returns the value that is stored, even if a trigger has changed it. Transition, CompareAndSet and Use
// return an error if a trigger would store something else in the column, and nothing is written. Set.Add returns an
// error if a trigger dropped the member.
//
// On PostgreSQL the statement itself shows what triggers BEFORE UPDATE did. Triggers BEFORE INSERT are looked for
// when the Set is first used. If there are some, its statement takes longer. On MySQL, MariaDB and SQLite triggers
// are looked for when the column is first used. If there are some, each change is made in a transaction, and read
// back.
//
// This is not seen:
//   - An UPDATE that a trigger of PostgreSQL makes AFTER the statement.
//   - A trigger that the account may not see (MySQL and MariaDB show triggers to those who have the right TRIGGER), one
//     that was made after the first use, and one of a database that is attached to SQLite.
//   - That an amount did not arrive in full. The returned value shows it. Transfer and DecrementAll don't look at it. A
//     Coalescer looks at it where triggers are looked for, and then makes its calls one by one.
//   - A trigger that changes the member of a Set.
//
// # What does not fit
//
// A value that does not fit in its column is an error, and nothing is written. MySQL and MariaDB would store a
// shortened value if the sql_mode is not strict. There the statements that write are run in a strict sql_mode, at no
// cost (SET_VAR, SET STATEMENT). MySQL before 8.0 and TiDB can't do that, and the first use returns an error that
// says so.
//
// # Names
//
// Names of tables and columns are quoted, so they must be spelt as the server stores them: "items" for PostgreSQL's
// CREATE TABLE Items. The name of a table may have a schema, as in "shop.items". Values are bound parameters; [Coalescer]
// says which values of a batch are not.
//
// [docs/galera-lost-abort.md]: https://github.com/nogap-go/nogap/blob/main/docs/galera-lost-abort.md
// [docs/what-is-checked.md]: https://github.com/nogap-go/nogap/blob/main/docs/what-is-checked.md
package atomic
