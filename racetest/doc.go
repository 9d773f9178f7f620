// Package racetest makes a race between requests show up in go test. It plays the orders in which the SQL statements
// of two or more clients can meet, against your real database, and fails with the first one that goes wrong.
//
// It works with any service on database/sql, whether or not the service uses the rest of nogap:
//
//	func TestBuy(t *testing.T) {
//		buy := func(ctx context.Context, db *sql.DB) error { return shop.New(db).Buy(ctx, "sku-1") }
//		racetest.Explore(t, racetest.Scenario{
//			Open:    racetest.Open("pgx", dsn),
//			Setup:   func(ctx context.Context, db *sql.DB) error { … }, // DELETE and INSERT
//			Clients: []racetest.Client{{Name: "alice", Run: buy}, {Name: "bob", Run: buy}},
//		})
//	}
//
// [MustFail] is the opposite of [Explore]: it proves that the test can see a bug that is there.
//
// # No invariant is needed
//
// A schedule is an order of the clients' steps. Its end is the content of all tables that the clients touch, and
// which clients failed with which error. The end must be one that the clients also reach when they run one after
// another, in some order of whole clients. Otherwise they have disturbed each other, and the schedule fails.
//
// Each order of whole clients is run twice. So racetest knows which values differ by themselves: numbers that the
// server makes, random keys, clocks. Of these values it only compares which rows have the same one, and of times only
// whether they are NULL. With Ignore, CompareResults and Check of [Scenario] you say what racetest can't know.
//
// A client may end in an error that no order of whole clients gives, such as a serialization failure. It counts as
// refused: the others must end as if it had not been there. So a client that fails halfway is found. If a client ends
// in a deadlock, and does not try again, the schedule fails.
//
// # What a step is
//
// A step is one statement: BeginTx, Exec, Query with all its rows, Commit or Rollback, prepared or not, through
// *sql.DB, *sql.Conn, *sql.Tx and whatever is built on them. While a statement waits for a lock, another client goes
// on. The server is asked whether the statement waits. While clients wait for one another inside the process, in a
// mutex or a queue, others go on too. [Step] makes a step of anything else.
//
// # How it searches
//
// The first schedules are those in which a client is interrupted after it has read what another one writes, and
// before it writes. Then each class of schedules that can differ is played once. Which schedules can differ is told
// by the tables that the statements name. Functions, DDL and statements that racetest does not understand are treated
// as if they could do anything. If there are too many classes for MaxSchedules and Budget, the rest are random
// schedules. A pass says how much was explored, and of how much.
//
// The classes are found with the sleep sets of Godefroid ("Partial-Order Methods for the Verification of Concurrent
// Systems", 1996). Half of the random schedules are those of PCT (Burckhardt, Kothari, Musuvathi, Nagarakatte, "A
// Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010).
//
// # What it does not see
//
//   - Two statements inside the server: a step is not interrupted.
//   - Values of columns with times, and numbers or texts that look like the time of day: only NULL or not is compared.
//   - What a client reads and does not write anywhere, without CompareResults.
//   - Several statements in one text, and COPY, as more than one step.
//
// # Servers
//
// The servers are PostgreSQL, MySQL, MariaDB and SQLite (a file, or memory with a shared cache), not through a
// pooler. On SQLite a client waits for a lock as long as it takes, whatever its busy_timeout is.
package racetest
