//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	stdatomic "sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// accounts makes the accounts a, b and c with 10, 20 and 0.
func accounts(tb testing.TB, target matrix.Target) (*sql.DB, *atomic.Counter[int64]) {
	tb.Helper()
	db := target.Open(tb)
	exec(tb, db, "CREATE TABLE accounts (id VARCHAR(40) PRIMARY KEY, balance BIGINT NOT NULL)")
	exec(tb, db, "INSERT INTO accounts VALUES ('a', 10), ('b', 20), ('c', 0)")
	balance, err := atomic.NewCounter[int64](db, "accounts", "balance")
	require.NoError(tb, err)
	return db, balance
}

func balances(tb testing.TB, db *sql.DB) string {
	tb.Helper()
	var a, b, c int64
	require.NoError(tb, db.QueryRow(`SELECT
		(SELECT balance FROM accounts WHERE id = 'a'),
		(SELECT balance FROM accounts WHERE id = 'b'),
		(SELECT balance FROM accounts WHERE id = 'c')`).Scan(&a, &b, &c))
	return fmt.Sprint(a, b, c)
}

// inBoth runs the test with statements of their own and in a transaction of the caller, which is committed.
func inBoth(t *testing.T, db *sql.DB, balance *atomic.Counter[int64], test func(*testing.T, *atomic.Counter[int64]), want string) {
	reset := func() {
		exec(t, db, "UPDATE accounts SET balance = CASE id WHEN 'a' THEN 10 WHEN 'b' THEN 20 ELSE 0 END")
	}
	t.Run("alone", func(t *testing.T) {
		reset()
		test(t, balance)
		require.Equal(t, want, balances(t, db))
	})
	t.Run("in a transaction", func(t *testing.T) {
		reset()
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer tx.Rollback()
		test(t, balance.WithTx(tx))
		require.NoError(t, tx.Commit())
		require.Equal(t, want, balances(t, db))
	})
}

// requireOutcome checks that a call ended without an error, or with the wanted one, which names the key.
func requireOutcome(t *testing.T, err, want error, key string) {
	t.Helper()
	if want == nil {
		require.NoError(t, err)
		return
	}
	require.ErrorIs(t, err, want)
	require.ErrorContains(t, err, "["+key+"]")
}

func TestTransfer(t *testing.T) {
	a, b, c, nobody := atomic.Key{"a"}, atomic.Key{"b"}, atomic.Key{"c"}, atomic.Key{"nobody"}
	tests := []struct {
		name     string
		n        int64
		from, to atomic.Key
		err      error
		key      string // that the error names
		want     string
	}{
		{name: "some", n: 4, from: a, to: b, want: "6 24 0"},
		{name: "against the order of keys", n: 20, from: b, to: a, want: "30 0 0"},
		{name: "too much", n: 11, from: a, to: b, err: atomic.ErrInsufficient, key: "a", want: "10 20 0"},
		{name: "too much against the order of keys", n: 21, from: b, to: a, err: atomic.ErrInsufficient, key: "b", want: "10 20 0"},
		{name: "from an empty account", n: 1, from: c, to: a, err: atomic.ErrInsufficient, key: "c", want: "10 20 0"},
		{name: "nothing", n: 0, from: c, to: a, want: "10 20 0"},
		{name: "to oneself", n: 10, from: a, to: a, want: "10 20 0"},
		{name: "too much to oneself", n: 11, from: a, to: a, err: atomic.ErrInsufficient, key: "a", want: "10 20 0"},
		{name: "from nobody", n: 1, from: nobody, to: a, err: sql.ErrNoRows, key: "nobody", want: "10 20 0"},
		{name: "to nobody", n: 1, from: a, to: nobody, err: sql.ErrNoRows, key: "nobody", want: "10 20 0"},
	}
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db, shared := accounts(t, target)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				inBoth(t, db, shared, func(t *testing.T, balance *atomic.Counter[int64]) {
					requireOutcome(t, balance.Transfer(t.Context(), tt.n, tt.from, tt.to), tt.err, tt.key)
				}, tt.want)
			})
		}
	})
}

func TestDecrementAll(t *testing.T) {
	item := func(key string, n int64) atomic.Item[int64] { return atomic.Item[int64]{Key: atomic.Key{key}, N: n} }
	tests := []struct {
		name  string
		items []atomic.Item[int64]
		err   error
		key   string
		want  string
	}{
		{name: "no items", want: "10 20 0"},
		{name: "two items", items: []atomic.Item[int64]{item("b", 20), item("a", 1)}, want: "9 0 0"},
		{name: "one short", items: []atomic.Item[int64]{item("a", 1), item("c", 1), item("b", 1)},
			err: atomic.ErrInsufficient, key: "c", want: "10 20 0"},
		{name: "twice the same", items: []atomic.Item[int64]{item("a", 4), item("b", 1), item("a", 6)}, want: "0 19 0"},
		{name: "twice the same is too much", items: []atomic.Item[int64]{item("a", 5), item("b", 1), item("a", 6)},
			err: atomic.ErrInsufficient, key: "a", want: "10 20 0"},
		{name: "one missing", items: []atomic.Item[int64]{item("a", 1), item("nobody", 1)}, err: sql.ErrNoRows, key: "nobody", want: "10 20 0"},
		{name: "none of an empty one", items: []atomic.Item[int64]{item("a", 1), item("c", 0)}, want: "9 20 0"},
	}
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		db, shared := accounts(t, target)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				inBoth(t, db, shared, func(t *testing.T, stock *atomic.Counter[int64]) {
					requireOutcome(t, stock.DecrementAll(t.Context(), tt.items), tt.err, tt.key)
				}, tt.want)
			})
		}
	})
}

// The sum doesn't change and no deadlock shows, whatever circle the money moves in.
func TestMoneyInCircles(t *testing.T) {
	matrix.Parallel(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		workers, turns := 200, 5
		if target.Dialect == nogap.SQLite { // one writer at a time
			turns = 1
		}
		db := target.Open(t)
		exec(t, db, "CREATE TABLE accounts (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)")
		const n = 10
		for id := range n {
			exec(t, db, fmt.Sprintf("INSERT INTO accounts VALUES (%d, 100)", id))
		}
		balance, err := atomic.NewCounter[int64](db, "accounts", "balance")
		require.NoError(t, err)
		var moved stdatomic.Int64
		together(workers, func(w int) {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for range turns {
				from, to := rnd.IntN(n), rnd.IntN(n)
				switch err := balance.Transfer(context.Background(), 1+rnd.Int64N(50), atomic.Key{from}, atomic.Key{to}); {
				case err == nil:
					moved.Add(1)
				case !errors.Is(err, atomic.ErrInsufficient):
					t.Error(err)
				}
			}
		})
		require.NotZero(t, moved.Load())
		require.Equal(t, int64(100*n), value[int64](t, db, "SELECT sum(balance) FROM accounts"))
		require.Zero(t, value[int64](t, db, "SELECT count(*) FROM accounts WHERE balance < 0"))
	})
}

func TestCartsThatCross(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db, stock := accounts(t, target)
		exec(t, db, "UPDATE accounts SET balance = 60")
		var sold, refused stdatomic.Int32
		together(100, func(i int) {
			cart := []atomic.Item[int64]{{Key: atomic.Key{"a"}, N: 1}, {Key: atomic.Key{"b"}, N: 1}, {Key: atomic.Key{"c"}, N: 1}}
			if i%2 == 0 {
				cart[0], cart[2] = cart[2], cart[0]
			}
			switch err := stock.DecrementAll(context.Background(), cart); {
			case err == nil:
				sold.Add(1)
			case errors.Is(err, atomic.ErrInsufficient):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
		require.Equal(t, int32(60), sold.Load())
		require.Equal(t, int32(40), refused.Load())
		require.Equal(t, "0 0 0", balances(t, db))
	})
}
