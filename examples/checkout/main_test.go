package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
)

// Every checkout ends, each order is paid at most once, and no sum is wrong.
func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, ""))
	t.Log("\n" + out.String())
	require.Contains(t, out.String(), "20 × paid, with a discount\n", "as many as the coupon allows")
	require.Contains(t, out.String(), " × not paid: not enough is left\n")
	require.Contains(t, out.String(), " × not paid: the order is paid already\n")
	require.True(t, strings.HasSuffix(out.String(), "The books are right.\n"))
}

func open(t *testing.T) (*sqlx.DB, *shop) {
	t.Helper()
	db, err := sqlx.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "shop.db")+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, s := range schema {
		db.MustExec("CREATE TABLE " + s.table + " (" + s.columns + ")")
	}
	s, err := newShop(db.DB)
	require.NoError(t, err)
	return db, s
}

// What the last step refuses leaves nothing of the steps before it.
func TestRefusal(t *testing.T) {
	db, s := open(t)
	db.MustExec(`INSERT INTO items VALUES ('pen', 300, 5);
		INSERT INTO wallets VALUES ('ann', 700), ('bob', 100);
		INSERT INTO coupons VALUES ('ONCE', 50, 0, 1);
		INSERT INTO orders (id, buyer, coupon, status) VALUES (1, 'bob', 'ONCE', 'pending'), (2, 'ann', 'ONCE', 'pending'), (3, 'ann', '', 'pending');
		INSERT INTO order_lines VALUES (1, 'pen', 1), (2, 'pen', 2), (3, 'pen', 4)`)

	_, err := s.checkout(t.Context(), 1)
	require.ErrorIs(t, err, atomic.ErrInsufficient)
	require.Equal(t, "there is not enough money", refusal(err))
	r, err := s.checkout(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, receipt{Invoice: 1, Discount: 50, Total: 550}, r, "bob has given the coupon back")
	_, err = s.checkout(t.Context(), 2)
	require.Equal(t, "the order is paid already", refusal(err))
	_, err = s.checkout(t.Context(), 3)
	require.Equal(t, "only 3 of pen are left", refusal(err))

	db.MustExec("UPDATE wallets SET balance = 1000")
	r, err = s.checkout(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, receipt{Invoice: 2, Total: 300}, r, "the coupon is used up")
}

// The audit sees what is wrong.
func TestAudit(t *testing.T) {
	db, _ := open(t)
	require.NoError(t, fill(t.Context(), db))
	_, err := sell(t.Context(), db.DB)
	require.NoError(t, err)
	require.NoError(t, audit(t.Context(), db))
	for _, wrong := range []string{
		"UPDATE items SET stock = stock + 1 WHERE sku = 'sku-3'", "UPDATE wallets SET balance = balance - 1 WHERE buyer = 'buyer-3'",
		"UPDATE coupons SET used = used + 1", "UPDATE invoice_numbers SET last = last + 1",
		"UPDATE orders SET invoice = NULL WHERE invoice = 3", "UPDATE orders SET status = 'paid' WHERE status <> 'paid'",
	} {
		tx := db.MustBegin()
		tx.MustExec(wrong)
		require.Error(t, audit(t.Context(), tx), wrong)
		require.NoError(t, tx.Rollback())
	}
}
