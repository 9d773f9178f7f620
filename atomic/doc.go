// Package atomic closes the gap between a read and the write decided from it: both are one guarded statement, so there
// is nothing in between. It is the cure to reach for first. It needs no version column and holds no lock beyond the
// statement, and a success costs one round trip.
//
//	stock, err := atomic.NewCounter[int64](db, "items", "stock")
//	left, err := stock.DecrementIfPositive(ctx, "sku-1")
//	switch {
//	case err == nil:
//	case errors.Is(err, atomic.ErrInsufficient): // sold out; left is what is there
//	case errors.Is(err, sql.ErrNoRows):          // no such item
//	case errors.Is(err, nogap.ErrOutcomeUnknown): // sold or not: look before you sell again
//	default: // nothing was written
//	}
//
// # Which type
//
//   - [Counter]: numbers that may not pass a limit. Stock, balances, quotas; carts with DecrementAll, money with Transfer.
//     With [CreateMissing], numbers of a day, a user, a series, whose rows are inserted when they are needed.
//   - [Coalescer]: the same for integers in rows that hundreds of callers of one process want at once.
//   - [Set]: rows that are there once or not at all. Likes, memberships, events that were handled.
//   - [State]: a status that moves on by one winner. Orders, jobs, tickets.
//   - [SingleUse]: rows that may be used once, within their time. Codes to reset a password, refresh tokens, invitations.
//
// [Where] adds a condition over the other columns of the row: a coupon's limit, an account that is not closed. A rule that
// needs more than one row to decide is for package pessimistic, or for package optimistic.
//
// # Guarantees
//
// A change is made once or not at all. A statement is never sent again after it may have reached the server: then the
// error is [nogap.ErrOutcomeUnknown], and with any other error nothing was written. database/sql by itself does send
// again, https://github.com/golang/go/issues/11978, so every statement here has a connection to itself. What the server
// itself has undone (a deadlock, a serialization failure, a lost certification on a cluster, a busy SQLite) is tried again.
//
// All methods of all processes on one row are linearizable as far as the database is: PostgreSQL, MySQL, MariaDB and
// SQLite on one primary are. On a cluster with several primaries (MariaDB Galera, MySQL Group Replication) writes are, and what
// a refusal reports may be a moment old. On Galera, Transfer, DecrementAll, IncrementAll, Counters of decimals, rows that CreateMissing
// inserts under a Where, and WithTx are an error unless the driver's DSN has interpolateParams=true: see docs/galera-lost-abort.md.
//
// # Together on one table
//
// Package optimistic writes a row back as it was read, with what its caller changed, if the row still has its version. So
// whoever else changes a column that it writes must count the version up:
//
//	stock, err := atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("version"))
//
// Otherwise what a Counter, a Coalescer or a State did between the read and the write is lost. The other way out is
// optimistic.ReadOnly("stock"): the Table never writes the column.
//
// Where a Counter, a State or a SingleUse (the column of UsedAt) without VersionColumn and an optimistic.Table of the same *sql.DB
// would write the same column,
// the one that is made second is refused, by its constructor, or by its first use if only the server knows that two
// spellings are one table. The other one goes on working. A Table that compares xmin needs nothing, since PostgreSQL
// changes that with every write. Another *sql.DB, another process and SQL of your own are not seen: they must count the
// version up as well.
//
// # The first look
//
// At its first use on a *sql.DB each value of this package asks the server once what its table is. Every method then
// returns an error for an engine without transactions (MySQL, MariaDB), and for a session that does not commit by itself
// (autocommit=0, completion_type), unless WithTx is used. So do the methods whose statement a trigger INSTEAD OF it or a
// DO INSTEAD rule would replace (UPDATE for Counter, State, Coalescer and SingleUse; INSERT for Set.Add and CreateMissing; DELETE for Set.Remove and
// DeleteUsed), and
// a State of times whose driver cuts the microseconds. What becomes of the schema later is not seen. The module's page
// docs/what-is-checked.md has the details.
//
// # Triggers
//
// What a Counter returns is what is stored, also if a trigger has limited it. A Transition, a CompareAndSet and a Use, after which
// the column would hold something else is an error, and nothing is written. That a member was not added because a trigger
// dropped it is an error of Set. On PostgreSQL the statement itself tells, about triggers BEFORE the UPDATE; triggers BEFORE
// the INSERT are looked for when the Set is first used, and where there are some its statement takes longer. On MySQL,
// MariaDB and SQLite triggers are looked for when the column is first used. If there are some, each change is made in a
// transaction, and read back. So it is if the sql_mode of MySQL or MariaDB is not strict, in which they cut what does not fit.
//
// This is not seen:
//   - An UPDATE that a trigger of PostgreSQL makes AFTER the statement.
//   - A trigger that the account may not see (MySQL and MariaDB show it to those who have the right TRIGGER), one that was
//     made after the first use, and one of a database that is attached to SQLite.
//   - That an amount did not arrive in full: the value that comes back tells. Transfer and DecrementAll don't look at it.
//     A Coalescer does where triggers are looked for, and makes its calls one by one then.
//   - A trigger that changes the member of a Set.
//
// # Names
//
// Tables, which may be qualified by a schema, and columns are quoted, so they are taken as the server stores them:
// "items" for PostgreSQL's CREATE TABLE Items. Values are always bound parameters.
package atomic
