//go:build unix

package racetest_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/racetest/explore"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

const (
	levelDefault = sql.LevelDefault
	repeatable   = sql.LevelRepeatableRead
	serializable = sql.LevelSerializable
)

var (
	noSQLite = []nogap.Dialect{nogap.SQLite}
	stock    = []string{"CREATE TABLE items (id INT PRIMARY KEY, stock INT NOT NULL, version INT NOT NULL DEFAULT 0)"}
	ten      = []string{"INSERT INTO items (id, stock) VALUES (1, 10), (2, 10)"}
	one      = []string{"INSERT INTO items (id, stock) VALUES (1, 1)"}
)

// takeOne reads, decides and writes.
func takeOne(ctx context.Context, q querier, lock string) error {
	n, err := number(ctx, q, "SELECT stock FROM items WHERE id = 1"+lock)
	if err != nil {
		return err
	}
	_, err = exec(ctx, q, "UPDATE items SET stock = ? WHERE id = 1", n-1)
	return err
}

func onPool(fn func(ctx context.Context, q querier) error) work {
	return func(ctx context.Context, db *sqlx.DB) error { return fn(ctx, db) }
}

// takeByVersion compares and swaps.
func takeByVersion(ctx context.Context, db *sqlx.DB) error {
	for {
		var item struct{ Stock, Version int }
		if err := db.GetContext(ctx, &item, "SELECT stock, version FROM items WHERE id = 1"); err != nil {
			return err
		}
		n, err := exec(ctx, db, "UPDATE items SET stock = ?, version = ? WHERE id = 1 AND version = ?", item.Stock-1, item.Version+1, item.Version)
		if err != nil || n == 1 {
			return err
		}
	}
}

// sell decides by what it has read, and takes one off whatever is there.
func sell(ctx context.Context, q querier, lock string) error {
	n, err := number(ctx, q, "SELECT stock FROM items WHERE id = 1"+lock)
	if err != nil {
		return err
	}
	if n < 1 {
		return errSoldOut
	}
	return all(ctx, q, "UPDATE items SET stock = stock - 1 WHERE id = 1", "INSERT INTO sales (item) VALUES (1)")
}

var shop = append(stock[:1:1], "CREATE TABLE sales (id $serial, item INT NOT NULL)")

// bugs are programs that go wrong, and what they are without the bug.
var bugs = []struct {
	program
	fixed []program
}{
	{
		program{name: "lost update", schema: stock, data: ten,
			clients: both(onPool(func(ctx context.Context, q querier) error { return takeOne(ctx, q, "") }))},
		[]program{
			{name: "guarded UPDATE", schema: stock, data: ten, clients: both(func(ctx context.Context, db *sqlx.DB) error {
				_, err := exec(ctx, db, "UPDATE items SET stock = stock - 1 WHERE id = 1 AND stock > 0")
				return err
			})},
			{name: "FOR UPDATE", schema: stock, data: ten, not: noSQLite, clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
				return takeOne(ctx, tx, " FOR UPDATE")
			}))},
			{name: "version", schema: stock, data: ten, clients: both(takeByVersion)},
			{name: "SERIALIZABLE, retried", schema: stock, data: ten, clients: both(retried(in(serializable, func(ctx context.Context, tx *sqlx.Tx) error {
				return takeOne(ctx, tx, "")
			})))},
		},
	},
	{
		program{name: "oversell", schema: shop, data: one,
			clients: both(onPool(func(ctx context.Context, q querier) error { return sell(ctx, q, "") }))},
		[]program{
			{name: "guarded UPDATE", schema: shop, data: one, clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
				n, err := exec(ctx, tx, "UPDATE items SET stock = stock - 1 WHERE id = 1 AND stock > 0")
				if err != nil {
					return err
				}
				if n == 0 {
					return errSoldOut
				}
				_, err = exec(ctx, tx, "INSERT INTO sales (item) VALUES (1)")
				return err
			}))},
			{name: "FOR UPDATE", schema: shop, data: one, not: noSQLite, clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
				return sell(ctx, tx, " FOR UPDATE")
			}))},
		},
	},
	{
		program{name: "double like", schema: []string{"CREATE TABLE likes (id $serial, post INT NOT NULL, person INT NOT NULL)"},
			clients: both(func(ctx context.Context, db *sqlx.DB) error { return like(ctx, db) })},
		[]program{
			{name: "unique index", schema: []string{"CREATE TABLE likes (post INT NOT NULL, person INT NOT NULL, PRIMARY KEY (post, person))"},
				clients: both(func(ctx context.Context, db *sqlx.DB) error {
					_, err := exec(ctx, db, "INSERT INTO likes (post, person) VALUES (1, 2)")
					if sqlerr.Of(err).Has(sqlerr.Unique) {
						return nil
					}
					return err
				})},
			{name: "advisory lock", schema: []string{"CREATE TABLE likes (id $serial, post INT NOT NULL, person INT NOT NULL)"},
				not: []nogap.Dialect{nogap.SQLite, nogap.MySQL, nogap.MariaDB},
				clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
					if _, err := exec(ctx, tx, "SELECT pg_advisory_xact_lock(1)"); err != nil {
						return err
					}
					return like(ctx, tx)
				}))},
		},
	},
	{
		program{name: "coupon", schema: coupons, data: coupon, clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
			return redeem(ctx, tx)
		})), not: noSQLite},
		[]program{
			{name: "FOR UPDATE", schema: coupons, data: coupon, not: noSQLite, clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
				if _, err := number(ctx, tx, "SELECT most FROM coupons WHERE id = 1 FOR UPDATE"); err != nil {
					return err
				}
				return redeem(ctx, tx)
			}))},
			{name: "SERIALIZABLE, retried", schema: coupons, data: coupon, clients: both(retried(in(serializable, func(ctx context.Context, tx *sqlx.Tx) error {
				return redeem(ctx, tx)
			})))},
		},
	},
	{
		program{name: "write skew", schema: doctors, data: onCall, not: noSQLite, clients: []work{leave(repeatable, 1, ""), leave(repeatable, 2, "")}},
		[]program{
			{name: "FOR UPDATE", schema: doctors, data: onCall, not: noSQLite, clients: []work{leave(sql.LevelReadCommitted, 1, "lock"), leave(sql.LevelReadCommitted, 2, "lock")}},
			{name: "SERIALIZABLE, retried", schema: doctors, data: onCall, clients: []work{retried(leave(serializable, 1, "")), retried(leave(serializable, 2, ""))}},
		},
	},
	{
		program{name: "stale value in a transaction", schema: stock, data: ten, not: noSQLite, clients: both(in(sql.LevelReadCommitted, func(ctx context.Context, tx *sqlx.Tx) error {
			return takeOne(ctx, tx, "")
		}))},
		[]program{{name: "REPEATABLE READ, retried", schema: stock, data: ten, not: []nogap.Dialect{nogap.SQLite, nogap.MySQL, nogap.MariaDB},
			clients: both(retried(in(repeatable, func(ctx context.Context, tx *sqlx.Tx) error { return takeOne(ctx, tx, "") })))}},
	},
	{
		program{name: "crosswise deadlock", schema: stock, data: ten, not: noSQLite, clients: []work{move(1, 2), move(2, 1)}},
		[]program{
			{name: "in order", schema: stock, data: ten, clients: []work{move(1, 2), in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
				return all(ctx, tx, "UPDATE items SET stock = stock + 1 WHERE id = 1", "UPDATE items SET stock = stock - 1 WHERE id = 2")
			})}},
			{name: "retried", schema: stock, data: ten, clients: []work{retried(move(1, 2)), retried(move(2, 1))}},
		},
	},
	{
		program{name: "read-only anomaly", schema: accounts, data: empty, not: []nogap.Dialect{nogap.SQLite},
			clients: withdrawal(repeatable, func(w work) work { return w })},
		[]program{{name: "SERIALIZABLE, retried", schema: accounts, data: empty, clients: withdrawal(serializable, retried), options: bounded}},
	},
	{
		program{name: "MAX+1", schema: invoices, clients: both(func(ctx context.Context, db *sqlx.DB) error {
			n, err := number(ctx, db, "SELECT COALESCE(MAX(number), 0) + 1 FROM invoices")
			if err != nil {
				return err
			}
			_, err = exec(ctx, db, "INSERT INTO invoices (number) VALUES (?)", n)
			return err
		})},
		[]program{{name: "counter", schema: append(invoices[:1:1], "CREATE TABLE counters (id INT PRIMARY KEY, n INT NOT NULL)"), data: []string{"INSERT INTO counters VALUES (1, 0)"},
			clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
				if err := all(ctx, tx, "UPDATE counters SET n = n + 1 WHERE id = 1"); err != nil {
					return err
				}
				n, err := number(ctx, tx, "SELECT n FROM counters WHERE id = 1")
				if err != nil {
					return err
				}
				_, err = exec(ctx, tx, "INSERT INTO invoices (number) VALUES (?)", n)
				return err
			}))}},
	},
	{
		program{name: "idempotency key", schema: payments, data: balance, clients: both(func(ctx context.Context, db *sqlx.DB) error {
			n, err := number(ctx, db, "SELECT COUNT(*) FROM payments WHERE request = 'a'")
			if err != nil || n > 0 {
				return err
			}
			return all(ctx, db, "UPDATE wallets SET balance = balance - 10 WHERE id = 1", "INSERT INTO payments (request) VALUES ('a')")
		})},
		[]program{{name: "unique key first", schema: uniquePayments, data: balance, clients: both(func(ctx context.Context, db *sqlx.DB) error {
			err := in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
				return all(ctx, tx, "INSERT INTO payments (request) VALUES ('a')", "UPDATE wallets SET balance = balance - 10 WHERE id = 1")
			})(ctx, db)
			if sqlerr.Of(err).Has(sqlerr.Unique) {
				return nil
			}
			return err
		})}},
	},
	{
		program{name: "refresh token", schema: tokens, data: token, clients: both(func(ctx context.Context, db *sqlx.DB) error {
			used, err := number(ctx, db, "SELECT used FROM tokens WHERE id = 1")
			if err != nil {
				return err
			}
			if used == 1 {
				return errUsed
			}
			return all(ctx, db, "UPDATE tokens SET used = 1 WHERE id = 1", "INSERT INTO sessions (token) VALUES (1)")
		})},
		[]program{{name: "guarded UPDATE", schema: tokens, data: token, clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
			n, err := exec(ctx, tx, "UPDATE tokens SET used = 1 WHERE id = 1 AND used = 0")
			if err != nil {
				return err
			}
			if n == 0 {
				return errUsed
			}
			return all(ctx, tx, "INSERT INTO sessions (token) VALUES (1)")
		}))}},
	},
	{
		program{name: "half-done client", schema: uniquePayments, data: balance, clients: both(onPool(pay))},
		[]program{{name: "transaction", schema: uniquePayments, data: balance, not: noSQLite,
			clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error { return pay(ctx, tx) }))}},
	},
	{
		program{name: "recomputed count", schema: posts, data: post, clients: both(onPool(comment))},
		[]program{{name: "counted up", schema: posts, data: post, clients: both(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
			return all(ctx, tx, "INSERT INTO comments (post) VALUES (1)", "UPDATE posts SET comments = comments + 1 WHERE id = 1")
		}))}},
	},
	{
		program{name: "three clients", schema: stock, data: ten, clients: append(both(func(ctx context.Context, db *sqlx.DB) error {
			_, err := exec(ctx, db, "UPDATE items SET stock = stock - 1 WHERE id = 1")
			return err
		}), onPool(func(ctx context.Context, q querier) error { return takeOne(ctx, q, "") }))},
		[]program{{name: "guarded UPDATE", schema: stock, data: ten, clients: append(both(takeByVersion), func(ctx context.Context, db *sqlx.DB) error {
			_, err := exec(ctx, db, "UPDATE items SET stock = stock - 1, version = version + 1 WHERE id = 1")
			return err
		}), options: bounded}},
	},
	{
		program{name: "queue", schema: jobs, data: twoJobs, not: noSQLite, clients: both(in(sql.LevelReadCommitted, func(ctx context.Context, tx *sqlx.Tx) error {
			return takeJob(ctx, tx, "")
		}))},
		[]program{{name: "SKIP LOCKED", schema: jobs, data: twoJobs, not: noSQLite, clients: both(in(sql.LevelReadCommitted, func(ctx context.Context, tx *sqlx.Tx) error {
			return takeJob(ctx, tx, " FOR UPDATE SKIP LOCKED")
		}))}},
	},
}

// bounded is for those with too many schedules.
func bounded(cfg *explore.Config) { cfg.MaxPreemptions = 1 }

func like(ctx context.Context, q querier) error {
	n, err := number(ctx, q, "SELECT COUNT(*) FROM likes WHERE post = 1 AND person = 2")
	if err != nil || n > 0 {
		return err
	}
	_, err = exec(ctx, q, "INSERT INTO likes (post, person) VALUES (1, 2)")
	return err
}

var (
	coupons = []string{"CREATE TABLE coupons (id INT PRIMARY KEY, most INT NOT NULL)", "CREATE TABLE uses (id $serial, coupon INT NOT NULL)"}
	coupon  = []string{"INSERT INTO coupons VALUES (1, 1)"}
	errUsed = errors.New("used")
)

func redeem(ctx context.Context, tx *sqlx.Tx) error {
	n, err := number(ctx, tx, "SELECT COUNT(*) FROM uses WHERE coupon = 1")
	if err != nil {
		return err
	}
	if n >= 1 {
		return errUsed
	}
	_, err = exec(ctx, tx, "INSERT INTO uses (coupon) VALUES (1)")
	return err
}

var (
	doctors = []string{"CREATE TABLE doctors (id INT PRIMARY KEY, oncall INT NOT NULL)"}
	onCall  = []string{"INSERT INTO doctors VALUES (1, 1), (2, 1)"}
)

func leave(level sql.IsolationLevel, doctor int, lock string) work {
	return in(level, func(ctx context.Context, tx *sqlx.Tx) error {
		if lock != "" {
			rows, err := tx.QueryContext(ctx, "SELECT id FROM doctors ORDER BY id FOR UPDATE")
			if err != nil {
				return err
			}
			if err := rows.Close(); err != nil {
				return err
			}
		}
		n, err := number(ctx, tx, "SELECT COUNT(*) FROM doctors WHERE oncall = 1")
		if err != nil {
			return err
		}
		if n < 2 {
			return errors.New("the last one stays")
		}
		_, err = exec(ctx, tx, "UPDATE doctors SET oncall = 0 WHERE id = ?", doctor)
		return err
	})
}

func move(from, to int) work {
	return in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
		return all(ctx, tx, fmt.Sprintf("UPDATE items SET stock = stock - 1 WHERE id = %d", from), fmt.Sprintf("UPDATE items SET stock = stock + 1 WHERE id = %d", to))
	})
}

var (
	accounts = []string{"CREATE TABLE accounts (id INT PRIMARY KEY, balance INT NOT NULL)", "CREATE TABLE reports (id INT PRIMARY KEY, checking INT NOT NULL, savings INT NOT NULL)"}
	empty    = []string{"INSERT INTO accounts VALUES (1, 0), (2, 0)"}
)

// withdrawal is the read-only anomaly of Fekete, O'Neil and O'Neil (2004): a withdrawal with a fee if the sum is too low, a deposit, and a
// report that sees the deposit and not the withdrawal.
func withdrawal(level sql.IsolationLevel, again func(work) work) []work {
	balance := func(ctx context.Context, tx *sqlx.Tx, id int) (int, error) {
		return number(ctx, tx, "SELECT balance FROM accounts WHERE id = ?", id)
	}
	withdraw := in(level, func(ctx context.Context, tx *sqlx.Tx) error {
		checking, err := balance(ctx, tx, 1)
		if err != nil {
			return err
		}
		savings, err := balance(ctx, tx, 2)
		if err != nil {
			return err
		}
		amount := 10
		if checking+savings < 10 {
			amount = 11
		}
		_, err = exec(ctx, tx, "UPDATE accounts SET balance = ? WHERE id = 1", checking-amount)
		return err
	})
	deposit := in(level, func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := exec(ctx, tx, "UPDATE accounts SET balance = balance + 20 WHERE id = 2")
		return err
	})
	report := in(level, func(ctx context.Context, tx *sqlx.Tx) error {
		checking, err := balance(ctx, tx, 1)
		if err != nil {
			return err
		}
		savings, err := balance(ctx, tx, 2)
		if err != nil {
			return err
		}
		_, err = exec(ctx, tx, "INSERT INTO reports VALUES (1, ?, ?)", checking, savings)
		return err
	})
	return []work{again(withdraw), again(deposit), again(report)}
}

var (
	invoices       = []string{"CREATE TABLE invoices (id $serial, number INT NOT NULL)"}
	payments       = []string{"CREATE TABLE wallets (id INT PRIMARY KEY, balance INT NOT NULL)", "CREATE TABLE payments (id $serial, request VARCHAR(20) NOT NULL)"}
	uniquePayments = []string{payments[0], "CREATE TABLE payments (request VARCHAR(20) PRIMARY KEY)"}
	balance        = []string{"INSERT INTO wallets VALUES (1, 100)"}
	tokens         = []string{"CREATE TABLE tokens (id INT PRIMARY KEY, used INT NOT NULL)", "CREATE TABLE sessions (id $serial, token INT NOT NULL)"}
	token          = []string{"INSERT INTO tokens VALUES (1, 0)"}
	posts          = []string{"CREATE TABLE posts (id INT PRIMARY KEY, comments INT NOT NULL)", "CREATE TABLE comments (id $serial, post INT NOT NULL)"}
	post           = []string{"INSERT INTO posts VALUES (1, 0)"}
	jobs           = []string{"CREATE TABLE jobs (id INT PRIMARY KEY, done INT NOT NULL)", "CREATE TABLE letters (id $serial, job INT NOT NULL)"}
	twoJobs        = []string{"INSERT INTO jobs VALUES (1, 0), (2, 0)"}
)

// pay looks whether the request was paid, takes the money, and notes the request, which the unique key may refuse.
func pay(ctx context.Context, q querier) error {
	n, err := number(ctx, q, "SELECT COUNT(*) FROM payments WHERE request = 'a'")
	if err != nil || n > 0 {
		return err
	}
	return all(ctx, q, "UPDATE wallets SET balance = balance - 10 WHERE id = 1", "INSERT INTO payments (request) VALUES ('a')")
}

func comment(ctx context.Context, q querier) error {
	if err := all(ctx, q, "INSERT INTO comments (post) VALUES (1)"); err != nil {
		return err
	}
	n, err := number(ctx, q, "SELECT COUNT(*) FROM comments WHERE post = 1")
	if err != nil {
		return err
	}
	_, err = exec(ctx, q, "UPDATE posts SET comments = ? WHERE id = 1", n)
	return err
}

func takeJob(ctx context.Context, tx *sqlx.Tx, lock string) error {
	id, err := number(ctx, tx, "SELECT id FROM jobs WHERE done = 0 ORDER BY id LIMIT 1"+lock)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := exec(ctx, tx, "UPDATE jobs SET done = 1 WHERE id = ?", id); err != nil {
		return err
	}
	_, err = exec(ctx, tx, "INSERT INTO letters (job) VALUES (?)", id)
	return err
}

// Each bug is found within ten schedules, without an invariant, and what was found happens again. Each program without it is explored to
// the end.
func TestProof(t *testing.T) {
	matrix.Run(t, targets(), func(t *testing.T, target matrix.Target) {
		t.Parallel()
		for _, bug := range bugs {
			if bug.on(target.Dialect) {
				t.Run(bug.name, func(t *testing.T) {
					result, err := explore.Run(t.Context(), bug.config(t, target))
					require.NoError(t, err)
					require.NotNil(t, result.Failure, "%+v", result)
					require.LessOrEqual(t, result.Failure.Number, 10)
					require.Equal(t, result.Failure.Replays, result.Failure.Replayed)
					t.Logf("schedule %d, %v", result.Failure.Number, result.Elapsed)
				})
			}
			for _, fixed := range bug.fixed {
				if !fixed.on(target.Dialect) {
					continue
				}
				t.Run(bug.name+"/"+fixed.name, func(t *testing.T) {
					result, err := explore.Run(t.Context(), fixed.config(t, target))
					require.NoError(t, err)
					require.Nil(t, result.Failure, "%+v", result.Failure)
					require.Empty(t, result.Inconclusive())
					require.True(t, result.Complete, "%+v", result)
					t.Logf("%d schedules, %d classes, pruned %v (%s), refused %d, diverged %d, %v", result.Schedules, result.Classes, result.Pruned, result.WhyNot, result.Refused, result.Diverged, result.Elapsed)
				})
			}
		}
	})
}

// targets are one driver of each server.
func targets() (one []matrix.Target) {
	seen := map[nogap.Dialect]bool{}
	for _, target := range matrix.All() {
		if !seen[target.Dialect] {
			seen[target.Dialect] = true
			one = append(one, target)
		}
	}
	return one
}
