package idempotency_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// Receipt is the answer to a payment.
type Receipt struct{ Left int64 }

// A client that got no answer sends its request again, with the same key.
func Example() {
	db := bank() // your *sql.DB, in which the account has 20
	payments, err := idempotency.New[Receipt](db, "idempotency_keys")
	if err != nil {
		panic(err)
	}
	pay := func(key string, amount int64) {
		receipt, replayed, err := payments.Do(context.Background(), key,
			func(ctx context.Context, tx *sqlx.Tx) (r Receipt, err error) {
				err = tx.GetContext(ctx, &r.Left, "UPDATE accounts SET balance = balance - $1 WHERE id = 1 RETURNING balance", amount)
				return r, err
			}, idempotency.Fingerprint(fmt.Sprint(amount)))
		fmt.Println(receipt.Left, replayed, err)
	}
	pay("key-1", 8)
	pay("key-1", 8)
	pay("key-1", 9)
	// Output:
	// 12 false <nil>
	// 12 true <nil>
	// 0 false idempotency: the key was used for another request
}

// bank is a PostgreSQL with one account, and room for one key.
func bank() *sql.DB {
	balance := int64(20)
	var fingerprint, result, shape any
	inserted := false
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case strings.Contains(c.Query, "version()"):
			return fakedb.Row("PostgreSQL 15.0"), nil
		case strings.HasPrefix(c.Query, "INSERT") && inserted:
			return fakedb.Reply{Columns: []string{"session", "transaction"}}, nil
		case strings.HasPrefix(c.Query, "INSERT"):
			inserted, fingerprint = true, c.Arg(2)
			return fakedb.Row(int64(1), "1"), nil
		case strings.Contains(c.Query, "accounts"):
			balance -= c.Arg(0).(int64)
			return fakedb.Row(balance), nil
		case strings.HasPrefix(c.Query, "UPDATE"):
			result, shape = c.Arg(2), c.Arg(3)
		case strings.HasPrefix(c.Query, "SELECT"):
			return fakedb.Row(fingerprint, result, shape, int64(1)), nil
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}
