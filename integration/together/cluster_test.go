//go:build unix

package together_test

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

var storm = flag.Duration("storm", time.Second, "how long TestTransfersOnCluster makes transfers")

// world is a pool with what the packages make of it.
type world struct {
	db     *sql.DB
	stock  *atomic.Counter[int64]
	price  *atomic.Counter[string]
	status *atomic.State[string]
	seen   *atomic.Set
	hot    *atomic.Coalescer[int64]
	items  *optimistic.Table[Item]
	locked *optimistic.Table[Item]
	fence  *distlock.Fence
}

// createWorld makes the tables.
func createWorld(t *testing.T, db *sql.DB) {
	createItems(t, db)
	fill(t, db)
	exec(t, db, "CREATE TABLE prices (id VARCHAR(40) PRIMARY KEY, price DECIMAL(12,2) NOT NULL)")
	exec(t, db, "INSERT INTO prices VALUES ('pen', 100)")
	exec(t, db, "CREATE TABLE seen (event BIGINT PRIMARY KEY)")
	exec(t, db, "CREATE TABLE jobs (id BIGINT PRIMARY KEY, done BIGINT NOT NULL DEFAULT 0)")
	exec(t, db, "CREATE TABLE fences (name VARBINARY(1000) PRIMARY KEY, token BIGINT NOT NULL, writes BIGINT NOT NULL)")
	exec(t, db, "INSERT INTO fences VALUES ('a', 1, 0)")
}

func newWorld(t *testing.T, db *sql.DB) *world {
	w := &world{db: db, stock: counter(t, db, counted), status: state(t, db, counted), items: editor(t, db)}
	var errs [4]error
	w.price, errs[0] = atomic.NewCounter[string](db, "prices", "price")
	w.seen, errs[1] = atomic.NewSet(db, "seen", []string{"event"})
	w.hot = atomic.Coalesce(w.stock)
	w.locked, errs[2] = optimistic.NewTable[Item](db, "items", optimistic.LockAfter(1))
	w.fence, errs[3] = distlock.NewFence(db, "fences")
	require.NoError(t, errors.Join(errs[:]...))
	return w
}

var (
	pen, cup = atomic.Key{"pen"}, atomic.Key{"cup"}
	penRow   = pessimistic.Row{Table: "items", Key: "pen"}
	bothRows = pessimistic.Rows{Table: "items", Keys: []any{"pen", "cup"}}
)

// take is a callback for Modify.
func take(it *Item) error { it.Stock--; return nil }

// takeLocked is a callback for WithRowLock.
func takeLocked(ctx context.Context, tx *sqlx.Tx, it *Item) error {
	_, err := tx.ExecContext(ctx, "UPDATE items SET stock = ?, version = version + 1 WHERE id = ?", it.Stock-1, it.ID)
	return err
}

// inTx runs f in a transaction that is begun and ended by hand, again while the server asks for that.
func (w *world) inTx(ctx context.Context, f func(tx *sql.Tx) error) error {
	for {
		tx, err := w.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err = f(tx); err == nil {
			err = tx.Commit()
		}
		tx.Rollback()
		if !nogap.Retryable(err) {
			return err
		}
	}
}

// takes are the calls that take one pen. Those that need a transaction with more than a lock and a write in it are marked.
var takes = []struct {
	name        string
	transaction bool
	take        func(context.Context, *world) error
}{
	{"atomic.Decrement", false, func(ctx context.Context, w *world) error {
		_, err := w.stock.Decrement(ctx, 1, "pen")
		return err
	}},
	{"atomic.Coalesce", false, func(ctx context.Context, w *world) error {
		_, err := w.hot.Decrement(ctx, 1, "pen")
		return err
	}},
	{"atomic.DecrementAll", true, func(ctx context.Context, w *world) error {
		return w.stock.DecrementAll(ctx, []atomic.Item[int64]{{Key: pen, N: 1}, {Key: cup, N: 0}})
	}},
	{"atomic.Transfer", true, func(ctx context.Context, w *world) error { return w.stock.Transfer(ctx, 1, pen, cup) }},
	{"atomic.WithTx", true, func(ctx context.Context, w *world) error {
		return w.inTx(ctx, func(tx *sql.Tx) error {
			_, err := w.stock.WithTx(tx).Decrement(ctx, 1, "pen")
			return err
		})
	}},
	{"transaction.Run", true, func(ctx context.Context, w *world) error {
		return transaction.Run(ctx, w.db, func(ctx context.Context, tx *sqlx.Tx) error {
			_, err := w.stock.WithTx(tx).Decrement(ctx, 1, "pen")
			return err
		})
	}},
	{"optimistic.Modify", false, func(ctx context.Context, w *world) error {
		_, err := w.items.Modify(ctx, take, "pen")
		return err
	}},
	{"optimistic.Modify, LockAfter", false, func(ctx context.Context, w *world) error {
		_, err := w.locked.Modify(ctx, take, "pen")
		return err
	}},
	{"pessimistic.WithRowLock", true, func(ctx context.Context, w *world) error {
		return pessimistic.WithRowLock(ctx, w.db, penRow, takeLocked)
	}},
	{"pessimistic.WithRowLocks", true, func(ctx context.Context, w *world) error {
		return pessimistic.WithRowLocks(ctx, w.db, bothRows, func(ctx context.Context, tx *sqlx.Tx, rows []*Item) error {
			return takeLocked(ctx, tx, rows[0])
		})
	}},
	{"pessimistic.LockRow", true, func(ctx context.Context, w *world) error {
		return w.inTx(ctx, func(tx *sql.Tx) error {
			it, err := pessimistic.LockRow[Item](ctx, tx, penRow)
			if err == nil {
				_, err = tx.ExecContext(ctx, "UPDATE items SET stock = ?, version = version + 1 WHERE id = 'pen'", it.Stock-1)
			}
			return err
		})
	}},
}

// On every cluster with several primaries, each call of every package that changes one row on two nodes at once is counted,
// once, and no outcome is unknown.
func TestConflictsBetweenNodes(t *testing.T) { matrix.EachCluster(t, testConflictsBetweenNodes) }

func testConflictsBetweenNodes(t *testing.T, cluster matrix.Cluster) {
	nodes, worlds := clusterWorlds(t, cluster)
	const callers, calls = 4, 8
	for _, tt := range takes {
		t.Run(tt.name, func(t *testing.T) {
			ctx := concurrent.Within(t, time.Minute)
			fill(t, nodes[0])
			cluster.CatchUp(t, nodes[1])
			atOnce(t, worlds, callers, func(w *world) error {
				var errs []error
				for range calls {
					errs = append(errs, tt.take(ctx, w))
				}
				return errors.Join(errs...)
			})
			for _, node := range nodes {
				cluster.CatchUp(t, node)
				left, version := row(t, node)
				require.EqualValues(t, 100-len(nodes)*callers*calls, left)
				require.Greater(t, version, int64(7), "counted up by each statement, of which a batch is one")
				require.LessOrEqual(t, version, 7+100-left)
			}
		})
	}
}

// Of those who want the same thing on two nodes, one gets it.
func TestOneWinnerBetweenNodes(t *testing.T) { matrix.EachCluster(t, testOneWinnerBetweenNodes) }

func testOneWinnerBetweenNodes(t *testing.T, cluster matrix.Cluster) {
	nodes, worlds := clusterWorlds(t, cluster)
	const rounds, callers = 10, 3
	for round := range rounds {
		ctx := concurrent.Within(t, time.Minute)
		var mu sync.Mutex
		added, moved := 0, 0
		atOnce(t, worlds, callers, func(w *world) error {
			was, err := w.seen.Add(ctx, round)
			refused := w.status.Transition(ctx, "new", "sold", "pen")
			mu.Lock()
			defer mu.Unlock()
			if was {
				added++
			}
			if refused == nil {
				moved++
			} else if !errors.Is(refused, atomic.ErrMismatch) {
				err = errors.Join(err, refused)
			}
			return err
		})
		require.Equal(t, [2]int{1, 1}, [2]int{added, moved})
		exec(t, nodes[0], "UPDATE items SET status = 'new' WHERE id = 'pen'")
		cluster.CatchUp(t, nodes[1])
	}
	const jobs = 20
	for id := range jobs {
		exec(t, nodes[0], fmt.Sprintf("INSERT INTO jobs (id) VALUES (%d)", id))
	}
	cluster.CatchUp(t, nodes[1])
	queue := pessimistic.Queue{Table: "jobs", Where: "done = 0", OrderBy: "id", Limit: 2, Columns: []string{"id"}}
	ctx := concurrent.Within(t, time.Minute)
	atOnce(t, worlds, callers, func(w *world) error {
		for {
			err := pessimistic.Claim(ctx, w.db, queue, func(ctx context.Context, tx *sqlx.Tx, ids []*int64) error {
				for _, id := range ids {
					if _, err := tx.ExecContext(ctx, "UPDATE jobs SET done = done + 1 WHERE id = ?", *id); err != nil {
						return err
					}
				}
				return nil
			})
			if errors.Is(err, sql.ErrNoRows) {
				return nil // what is claimed on the other node looks free here
			}
			if err != nil {
				return err
			}
		}
	})
	cluster.CatchUp(t, nodes[1])
	for _, node := range nodes {
		var done, most int
		require.NoError(t, node.QueryRow("SELECT SUM(done), MAX(done) FROM jobs").Scan(&done, &most))
		require.Equal(t, [2]int{jobs, 1}, [2]int{done, most})
	}
}

// Transfers between eight accounts, each with a read in its callback and a line in a ledger, are whole or not there, and
// those that were acknowledged are there.
func TestTransfersOnCluster(t *testing.T) { matrix.EachCluster(t, testTransfersOnCluster) }

func testTransfersOnCluster(t *testing.T, cluster matrix.Cluster) {
	nodes, worlds := clusterWorlds(t, cluster)
	const accounts = 8
	exec(t, nodes[0], "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)")
	exec(t, nodes[0], "CREATE TABLE ledger (id BIGINT PRIMARY KEY AUTO_INCREMENT, payer BIGINT NOT NULL, payee BIGINT NOT NULL)")
	for id := range accounts {
		exec(t, nodes[0], fmt.Sprintf("INSERT INTO accounts VALUES (%d, 1000000)", id))
	}
	cluster.CatchUp(t, nodes[1])
	var mu sync.Mutex
	acknowledged := 0
	end := time.Now().Add(*storm)
	atOnce(t, worlds, 6, func(w *world) error {
		for time.Now().Before(end) {
			from, to := rand.IntN(accounts), rand.IntN(accounts-1)
			if to >= from {
				to++
			}
			if err := pay(t.Context(), w.db, from, to); err != nil {
				return err
			}
			mu.Lock()
			acknowledged++
			mu.Unlock()
		}
		return nil
	})
	for _, node := range nodes {
		cluster.CatchUp(t, node)
		var written, wrong int
		require.NoError(t, node.QueryRow("SELECT COUNT(*) FROM ledger").Scan(&written))
		require.NoError(t, node.QueryRow(`SELECT COUNT(*) FROM accounts AS a WHERE balance <> 1000000
			- (SELECT COUNT(*) FROM ledger WHERE payer = a.id) + (SELECT COUNT(*) FROM ledger WHERE payee = a.id)`).Scan(&wrong))
		require.Zero(t, wrong, "accounts that do not have what the ledger says")
		require.Equal(t, acknowledged, written)
	}
	t.Logf("%d transfers", acknowledged)
}

func pay(ctx context.Context, db *sql.DB, from, to int) error {
	type account struct {
		ID      int   `db:"id"`
		Balance int64 `db:"balance"`
	}
	rows := pessimistic.Rows{Table: "accounts", Keys: []any{from, to}}
	return pessimistic.WithRowLocks(ctx, db, rows, func(ctx context.Context, tx *sqlx.Tx, a []*account) error {
		for i, balance := range []int64{a[0].Balance - 1, a[1].Balance + 1} {
			if _, err := tx.ExecContext(ctx, "UPDATE accounts SET balance = ? WHERE id = ?", balance, a[i].ID); err != nil {
				return err
			}
			if err := readAll(ctx, tx, "SELECT * FROM ledger WHERE payer = ? LIMIT 1", from); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO ledger (payer, payee) VALUES (?, ?)", from, to)
		return err
	})
}

// What needs a transaction is refused on Galera if the driver prepares, and nothing is written; what is one statement, or a
// lock and a write, works.
func TestRefusedOnGalera(t *testing.T) {
	galera := matrix.Galera()
	dsn := galera.DSN(t)
	createWorld(t, galera.Connect(t, dsn))
	db := galera.Connect(t, galera.Preparing(t, dsn))
	w, ctx := newWorld(t, db), t.Context()
	t.Cleanup(func() { require.NoError(t, w.hot.Close()) })

	taken := 0
	for _, tt := range takes {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.take(ctx, w)
			if tt.transaction {
				require.ErrorContains(t, err, "interpolateParams=true")
			} else {
				require.NoError(t, err)
				taken++
			}
			left, _ := row(t, db)
			require.EqualValues(t, 100-taken, left)
		})
	}
	require.Equal(t, 4, taken)

	for name, refused := range map[string]func(tx *sql.Tx) error{
		"a decimal, whose new value a SELECT reads": func(*sql.Tx) error {
			_, err := w.price.Decrement(ctx, "0.5", "pen")
			return err
		},
		"Claim": func(*sql.Tx) error {
			return pessimistic.Claim(ctx, db, pessimistic.Queue{Table: "items", Limit: 1},
				func(context.Context, *sqlx.Tx, []*Item) error { return nil })
		},
		"Get in a transaction": func(tx *sql.Tx) error {
			_, err := w.items.WithTx(tx).Get(ctx, "pen")
			return err
		},
		"State in a transaction": func(tx *sql.Tx) error { return w.status.WithTx(tx).Transition(ctx, "new", "sold", "pen") },
		"Set in a transaction": func(tx *sql.Tx) error {
			_, err := w.seen.WithTx(tx).Add(ctx, 1)
			return err
		},
		"Guard": func(tx *sql.Tx) error { return w.fence.Guard(ctx, tx, distlock.Token{Name: "a", Number: 1}) },
		"a transaction in a wrapper": func(tx *sql.Tx) error {
			_, err := w.stock.WithTx(struct{ nogap.Tx }{tx}).Decrement(ctx, 1, "pen")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			tx, err := db.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			require.ErrorContains(t, refused(tx), "interpolateParams=true")
			require.NoError(t, tx.Commit(), "the transaction goes on")
		})
	}
	left, _ := row(t, db)
	require.EqualValues(t, 100-taken, left)
}

// clusterWorlds returns a pool and what the packages make of it, for each node.
func clusterWorlds(t *testing.T, cluster matrix.Cluster) (nodes []*sql.DB, worlds []*world) {
	nodes = cluster.Nodes(t)
	createWorld(t, nodes[0])
	for _, node := range nodes {
		cluster.CatchUp(t, node)
		w := newWorld(t, node)
		t.Cleanup(func() { require.NoError(t, w.hot.Close()) })
		worlds = append(worlds, w)
	}
	return nodes, worlds
}

// atOnce calls f from so many goroutines for each world, and waits for them.
func atOnce(t *testing.T, worlds []*world, callers int, f func(*world) error) {
	t.Helper()
	errs := make(chan error, len(worlds)*callers)
	for _, w := range worlds {
		for range callers {
			go func() { errs <- f(w) }()
		}
	}
	for range len(worlds) * callers {
		require.NoError(t, <-errs)
	}
}
