//go:build unix

package outcome_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

// full is the stock of an item that no call has changed. Each call has two items of its own, so that what is there tells
// what came of it.
const full = 1000

// item is what package optimistic, and callbacks, see of an item.
type item struct {
	ID      int   `db:"id"`
	Stock   int64 `db:"stock"`
	Version int64 `db:"version"`
}

type coupon struct {
	ID int `db:"id"`
}

// A call writes in one of nogap's ways.
type call struct {
	name string
	// callers is how many make it at once, for the same item: each adds another power of base.
	callers int
	rows    bool // every other caller is one of the second item
	do      func(ctx context.Context, id, caller int) error
	traces  traces
}

// traces are what a call leaves if it is made once: how it changes the stock of its two items, whose versions count along, and
// what else it does.
type traces struct {
	first, second   int64
	alone           bool // the second item stays as it is
	paid, used      bool // the first item's
	member, removed bool
	made, booked    bool
}

// first and second return the items of a call.
func first(id int) int  { return 2 * id }
func second(id int) int { return 2*id + 1 }

// base is that of the number which the calls with several callers leave in the stock: a digit says how often one's was made.
const base = 4

func power(caller int) int64 {
	n := int64(1)
	for range caller {
		n *= base
	}
	return n
}

// crowd is how many items there are besides, with the numbers from -1 down. The callers of many rows look at them, so that so many
// rows are under way that they share transactions.
const crowd = 40

// among makes a call while others look at the items of the crowd.
func among(ctx context.Context, hot *atomic.Coalescer[int64], do func() error) error {
	var others, begun sync.WaitGroup
	defer others.Wait()
	begun.Add(crowd)
	for i := 1; i <= crowd; i++ {
		others.Go(func() {
			begun.Done()
			_, _ = hot.Increment(ctx, 0, -i)
		})
	}
	begun.Wait()
	return do()
}

// accounts is how many accounts there are, between which calls transfer crosswise.
const accounts, balance = 8, 1_000_000

// createTables makes the tables, and what calls with the numbers from 0 to n-1 need.
func createTables(t *testing.T, target matrix.Target, db *sql.DB, n int, calls []call) {
	t.Helper()
	instant := map[nogap.Dialect]string{nogap.Postgres: "TIMESTAMPTZ", nogap.SQLite: "TIMESTAMP"}[target.Dialect]
	if instant == "" {
		instant = "DATETIME(6)"
	}
	execute(t, db, "CREATE TABLE items (id INT PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT NOT NULL, status VARCHAR(10) NOT NULL, "+
		"used_at "+instant+" NULL, expires_at "+instant+" NULL)")
	execute(t, db, "CREATE TABLE members (id INT PRIMARY KEY)")
	execute(t, db, "CREATE TABLE made (id INT PRIMARY KEY, n BIGINT NOT NULL)")
	execute(t, db, "CREATE TABLE accounts (id INT PRIMARY KEY, balance BIGINT NOT NULL)")
	execute(t, db, "CREATE TABLE ledger (entry BIGINT NOT NULL, payer INT NOT NULL, payee INT NOT NULL"+serial(target)+")")
	keys, err := newKeys(db)
	require.NoError(t, err)
	execute(t, db, keys.Schema(target.Dialect))
	insert := func(table string, n int, row func(i int) string) {
		const batch = 500
		for from := 0; from < n; from += batch {
			var rows []string
			for i := from; i < min(n, from+batch); i++ {
				if r := row(i); r != "" {
					rows = append(rows, "("+r+")")
				}
			}
			if len(rows) > 0 {
				execute(t, db, "INSERT INTO "+table+" VALUES "+strings.Join(rows, ", "))
			}
		}
	}
	insert("items", 2*n, func(i int) string { return fmt.Sprintf("%d, %d, 0, 'new', NULL, NULL", i, full) })
	for i := 1; i <= crowd; i++ {
		execute(t, db, fmt.Sprintf("INSERT INTO items VALUES (%d, %d, 0, 'new', NULL, NULL)", -i, full))
	}
	insert("members", n, func(i int) string {
		if calls[i%len(calls)].traces.removed {
			return fmt.Sprint(i)
		}
		return ""
	})
	insert("accounts", accounts, func(i int) string { return fmt.Sprintf("%d, %d", i, balance) })
}

// serial is a primary key for the ledger, which Galera and Group Replication want to have, beside the number of the entry,
// which would be no proof if it could not be there twice.
func serial(target matrix.Target) string {
	switch target.Dialect {
	case nogap.MySQL, nogap.MariaDB:
		return ", id BIGINT PRIMARY KEY AUTO_INCREMENT, KEY (entry)"
	}
	return ""
}

func newKeys(db *sql.DB) (*idempotency.Store[int], error) {
	return idempotency.New[int](db, "idempotency_keys")
}

// takeBoth changes both items of a call, in a transaction of nogap's.
func takeBoth(ctx context.Context, tx *sqlx.Tx, id int) error {
	for _, item := range []int{first(id), second(id)} {
		_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE items SET stock = stock - 1, version = version + 1 WHERE id = ?"), item)
		if err != nil {
			return err
		}
	}
	return nil
}

// pay transfers between two accounts that others want too, and writes it in the ledger.
func pay(ctx context.Context, db *sql.DB, id int) error {
	payer, payee := id%accounts, (id+1+id/accounts%(accounts-1))%accounts
	type account struct {
		ID      int   `db:"id"`
		Balance int64 `db:"balance"`
	}
	rows := pessimistic.Rows{Table: "accounts", Keys: []any{payer, payee}}
	return pessimistic.WithRowLocks(ctx, db, rows, func(ctx context.Context, tx *sqlx.Tx, a []*account) error {
		for i, left := range []int64{a[0].Balance - 1, a[1].Balance + 1} {
			if _, err := tx.ExecContext(ctx, tx.Rebind("UPDATE accounts SET balance = ? WHERE id = ?"), left, a[i].ID); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, tx.Rebind("INSERT INTO ledger (entry, payer, payee) VALUES (?, ?, ?)"), id, payer, payee)
		return err
	})
}

// newCalls returns nogap's ways to write over a pool.
func newCalls(dialect nogap.Dialect, db *sql.DB) ([]call, error) {
	version := atomic.VersionColumn("version")
	stock, err1 := atomic.NewCounter[int64](db, "items", "stock", version)
	made, err2 := atomic.NewCounter[int64](db, "made", "n", atomic.CreateMissing())
	members, err3 := atomic.NewSet(db, "members", []string{"id"})
	status, err4 := atomic.NewState[string](db, "items", "status", version)
	coupons, err5 := atomic.NewSingleUse[coupon](db, "items", version, atomic.UsedAt("used_at"), atomic.ExpiresAt("expires_at"))
	items, err6 := optimistic.NewTable[item](db, "items")
	keys, err7 := newKeys(db)
	hot, hotItems := atomic.Coalesce(stock), optimistic.Coalesce(items)
	oneRow := "id = ?"
	if dialect == nogap.Postgres {
		oneRow = "id = $1"
	}
	both := func(id int) []atomic.Item[int64] {
		return []atomic.Item[int64]{{Key: atomic.Key{first(id)}, N: 1}, {Key: atomic.Key{second(id)}, N: 1}}
	}
	counter := func(name string, change int64, do func(ctx context.Context, id int) (int64, error)) call {
		return call{name: "atomic." + name, traces: traces{first: change, alone: true}, do: func(ctx context.Context, id, _ int) error {
			_, err := do(ctx, id)
			return err
		}}
	}
	simple := func(name string, traces traces, do func(ctx context.Context, id int) error) call {
		return call{name: name, traces: traces, do: func(ctx context.Context, id, _ int) error { return do(ctx, id) }}
	}
	taken := traces{first: -1, second: -1}
	return []call{
		counter("Decrement", -1, func(ctx context.Context, id int) (int64, error) { return stock.Decrement(ctx, 1, first(id)) }),
		counter("DecrementIfPositive", -1, func(ctx context.Context, id int) (int64, error) { return stock.DecrementIfPositive(ctx, first(id)) }),
		counter("Increment", 1, func(ctx context.Context, id int) (int64, error) { return stock.Increment(ctx, 1, first(id)) }),
		counter("IncrementUpTo", 1, func(ctx context.Context, id int) (int64, error) {
			return stock.IncrementUpTo(ctx, 1, 2*full, first(id))
		}),
		counter("CompareAndSet", -1, func(ctx context.Context, id int) (int64, error) {
			return 0, stock.CompareAndSet(ctx, full, full-1, first(id))
		}),
		simple("atomic.CreateMissing", traces{made: true}, func(ctx context.Context, id int) error {
			_, err := made.Increment(ctx, 1, id)
			return err
		}),
		simple("atomic.Transfer", traces{first: -1, second: 1}, func(ctx context.Context, id int) error {
			return stock.Transfer(ctx, 1, atomic.Key{first(id)}, atomic.Key{second(id)})
		}),
		simple("atomic.DecrementAll", taken, func(ctx context.Context, id int) error { return stock.DecrementAll(ctx, both(id)) }),
		simple("atomic.IncrementAll", traces{first: 1, second: 1}, func(ctx context.Context, id int) error {
			return stock.IncrementAll(ctx, both(id))
		}),
		simple("atomic.Set.Add", traces{member: true}, func(ctx context.Context, id int) error {
			added, err := members.Add(ctx, id)
			return refused(added, err)
		}),
		simple("atomic.Set.Remove", traces{removed: true}, func(ctx context.Context, id int) error {
			removed, err := members.Remove(ctx, id)
			return refused(removed, err)
		}),
		simple("atomic.State", traces{paid: true, alone: true}, func(ctx context.Context, id int) error {
			return status.Transition(ctx, "new", "paid", first(id))
		}),
		simple("atomic.SingleUse", traces{used: true, alone: true}, func(ctx context.Context, id int) error {
			_, err := coupons.Use(ctx, first(id))
			return err
		}),
		{name: "atomic.Coalesce", callers: 4, do: func(ctx context.Context, id, caller int) error {
			_, err := hot.Increment(ctx, power(caller), first(id))
			return err
		}},
		{name: "atomic.Coalesce of many rows", callers: 4, rows: true, do: func(ctx context.Context, id, caller int) error {
			return among(ctx, hot, func() error {
				_, err := hot.Increment(ctx, power(caller/2), first(id)+caller%2)
				return err
			})
		}},
		simple("optimistic.Update", traces{first: -1, alone: true}, func(ctx context.Context, id int) error {
			return items.Update(ctx, &item{ID: first(id), Stock: full - 1})
		}),
		simple("optimistic.Modify", traces{first: -1, alone: true}, func(ctx context.Context, id int) error {
			_, err := items.Modify(ctx, func(it *item) error { it.Stock--; return nil }, first(id))
			return err
		}),
		{name: "optimistic.Coalesce", callers: 4, do: func(ctx context.Context, id, caller int) error {
			_, err := hotItems.Modify(ctx, func(it *item) error { it.Stock += power(caller); return nil }, first(id))
			return err
		}},
		simple("pessimistic.WithRowLock", taken, func(ctx context.Context, id int) error {
			return pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "items", Key: first(id)},
				func(ctx context.Context, tx *sqlx.Tx, _ *item) error { return takeBoth(ctx, tx, id) })
		}),
		simple("pessimistic.WithRowLocks", traces{booked: true}, func(ctx context.Context, id int) error { return pay(ctx, db, id) }),
		simple("pessimistic.Claim", taken, func(ctx context.Context, id int) error {
			queue := pessimistic.Queue{Table: "items", Where: oneRow, Args: []any{first(id)}, Limit: 1}
			return pessimistic.Claim(ctx, db, queue,
				func(ctx context.Context, tx *sqlx.Tx, _ []*item) error { return takeBoth(ctx, tx, id) })
		}),
		simple("pessimistic.WithNamedLock", taken, func(ctx context.Context, id int) error {
			return pessimistic.WithNamedLock(ctx, db, fmt.Sprint("item ", id%accounts),
				func(ctx context.Context, tx *sqlx.Tx) error { return takeBoth(ctx, tx, id) })
		}),
		simple("transaction.Run", taken, func(ctx context.Context, id int) error {
			return transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error { return takeBoth(ctx, tx, id) })
		}),
		simple(withKey, taken, func(ctx context.Context, id int) error {
			_, _, err := keys.Do(ctx, fmt.Sprint(id), func(ctx context.Context, tx *sqlx.Tx) (int, error) { return id, takeBoth(ctx, tx, id) })
			return err
		}),
	}, errors.Join(err1, err2, err3, err4, err5, err6, err7)
}

// withKey is the name of the call that may be made again, whatever it returned.
const withKey = "idempotency.Do"

// refused makes an error of what Set says of a member that was there, or was not: here it means that the call was made before.
func refused(done bool, err error) error {
	if err == nil && !done {
		return errors.New("somebody was faster")
	}
	return err
}

// plainCalls are what people write over database/sql alone. What they return is taken at its word: an error means that nothing
// was written.
func plainCalls(dialect nogap.Dialect, db *sql.DB) ([]call, error) {
	update := "UPDATE items SET stock = stock - 1, version = version + 1 WHERE id = ?"
	if dialect == nogap.Postgres {
		update = strings.Replace(update, "?", "$1", 1)
	}
	return []call{
		{name: "DB.ExecContext", traces: traces{first: -1, alone: true}, do: func(ctx context.Context, id, _ int) error {
			_, err := db.ExecContext(ctx, update, first(id))
			return err
		}},
		{name: "Tx.Commit", traces: traces{first: -1, second: -1}, do: func(ctx context.Context, id, _ int) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			for _, item := range []int{first(id), second(id)} {
				if _, err := tx.ExecContext(ctx, update, item); err != nil {
					return err
				}
			}
			return tx.Commit()
		}},
	}, nil
}

// row is what is there of an item.
type row struct {
	Stock   int64      `db:"stock"`
	Version int64      `db:"version"`
	Status  string     `db:"status"`
	UsedAt  *time.Time `db:"used_at"`
	ID      int        `db:"id"`
}

// evidence is what all calls have left.
type evidence struct {
	items   map[int]row
	members map[int]bool
	made    map[int]int
	booked  map[int]int
}

// look reads what is there.
func look(t *testing.T, target matrix.Target, pool *sql.DB) *evidence {
	t.Helper()
	db := sqlx.NewDb(pool, target.Driver)
	var items []row
	var members []int
	var made, booked []struct {
		ID int `db:"id"`
		N  int `db:"n"`
	}
	ctx := t.Context()
	require.NoError(t, db.SelectContext(ctx, &items, "SELECT id, stock, version, status, used_at FROM items"))
	require.NoError(t, db.SelectContext(ctx, &members, "SELECT id FROM members"))
	require.NoError(t, db.SelectContext(ctx, &made, "SELECT id, n FROM made"))
	require.NoError(t, db.SelectContext(ctx, &booked, "SELECT entry AS id, count(*) AS n FROM ledger GROUP BY entry"))
	e := &evidence{items: map[int]row{}, members: map[int]bool{}, made: map[int]int{}, booked: map[int]int{}}
	for _, it := range items {
		e.items[it.ID] = it
	}
	for _, id := range members {
		e.members[id] = true
	}
	for _, m := range made {
		e.made[m.ID] = m.N
	}
	for _, b := range booked {
		e.booked[b.ID] = b.N
	}
	var wrong int
	require.NoError(t, db.GetContext(ctx, &wrong, fmt.Sprintf(`SELECT count(*) FROM accounts a WHERE balance <> %d
		- (SELECT count(*) FROM ledger WHERE payer = a.id) + (SELECT count(*) FROM ledger WHERE payee = a.id)`, balance)))
	require.Zero(t, wrong, "accounts that do not have what the ledger says")
	return e
}

// applied returns how often a call was made, and false if there is a part of it.
func (e *evidence) applied(c call, id, caller int) (n int, whole bool) {
	a, b := e.items[first(id)], e.items[second(id)]
	untouched := row{Stock: full, Status: "new"}
	a.ID, b.ID = 0, 0
	if c.rows {
		left := [2]row{a, b}[caller%2].Stock - full
		for range caller / 2 {
			left /= base
		}
		return int(left % base), true
	}
	if c.callers > 0 {
		left := a.Stock - full
		for range caller {
			left /= base
		}
		return int(left % base), b == untouched
	}
	x := c.traces
	switch {
	case x.member:
		return count(e.members[id]), a == untouched && b == untouched
	case x.removed:
		return count(!e.members[id]), a == untouched && b == untouched
	case x.made:
		return e.made[id], a == untouched && b == untouched
	case x.booked:
		return e.booked[id], a == untouched && b == untouched
	}
	n = int(a.Version)
	want := [2]row{untouched, untouched}
	want[0].Stock, want[0].Version = full+a.Version*x.first, a.Version
	if !x.alone {
		want[1].Stock, want[1].Version = full+a.Version*x.second, a.Version
	}
	if x.paid && n > 0 {
		want[0].Status = "paid"
	}
	if x.used && n > 0 {
		want[0].UsedAt = a.UsedAt
		whole = a.UsedAt != nil
	} else {
		whole = a.UsedAt == nil
	}
	return n, whole && a == want[0] && b == want[1]
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func execute(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), query)
	require.NoError(t, err, query)
}
