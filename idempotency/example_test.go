package idempotency_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/internal/fakedb"
)

var ctx = context.Background()

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

// Over HTTP, the client sends its key in the header field Idempotency-Key.
func ExampleNewHandler() {
	pay := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var left int64
		err := idempotency.Tx(r.Context()).GetContext(r.Context(), &left,
			"UPDATE accounts SET balance = balance - $1 WHERE id = 1 RETURNING balance", int64(8))
		if err != nil {
			http.Error(w, "try again", http.StatusInternalServerError) // rolls back
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, left, " left")
	})
	user := func(r *http.Request) (string, error) { return "alice", nil } // who is logged in
	h, err := idempotency.NewHandler(bank(), "idempotency_keys", pay, idempotency.ScopeBy(user))
	if err != nil {
		panic(err)
	}
	for _, key := range []string{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, `"8e03978e-40d5-43dd-bc93-6894a57f9324"`, ""} {
		r := httptest.NewRequest(http.MethodPost, "/payments", nil)
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 201 12 left
	// 201 12 left
	// 400 {"title":"Idempotency-Key is missing","status":400,"detail":"This operation needs the header field Idempotency-Key. Its value is the same for each try of one request, and another one for each other request."}
}

// A call that fails leaves nothing, so the next try with the key runs the callback.
func ExampleStore_Do() {
	payments, err := idempotency.New[Receipt](bank(), "idempotency_keys") // the account has 20
	if err != nil {
		panic(err)
	}
	pay := func(key string, amount int64) {
		receipt, replayed, err := payments.Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (r Receipt, err error) {
			if amount > 20 {
				return r, errors.New("not enough")
			}
			err = tx.GetContext(ctx, &r.Left, "UPDATE accounts SET balance = balance - $1 WHERE id = 1 RETURNING balance", amount)
			return r, err
		})
		switch {
		case err == nil:
			fmt.Println(receipt.Left, "left, replayed:", replayed)
		case errors.Is(err, nogap.ErrOutcomeUnknown):
			fmt.Println("call Do with the same key again")
		default:
			fmt.Println(err)
		}
	}
	pay("key-1", 80)
	pay("key-1", 8)
	pay("key-1", 8)
	// Output:
	// not enough
	// 12 left, replayed: false
	// 12 left, replayed: true
}

func ExampleStore_Lookup() {
	payments, err := idempotency.New[Receipt](bank(), "idempotency_keys")
	if err != nil {
		panic(err)
	}
	_, found, err := payments.Lookup(ctx, "key-1")
	fmt.Println(found, err)
	_, _, err = payments.Do(ctx, "key-1", func(context.Context, *sqlx.Tx) (Receipt, error) { return Receipt{Left: 12}, nil })
	if err != nil {
		panic(err)
	}
	receipt, found, err := payments.Lookup(ctx, "key-1")
	fmt.Println(receipt.Left, found, err)
	// Output:
	// false <nil>
	// 12 true <nil>
}

// Someone has undone the payment by hand, and the client is to try it again with its key.
func ExampleStore_Forget() {
	payments, err := idempotency.New[Receipt](bank(), "idempotency_keys")
	if err != nil {
		panic(err)
	}
	pay := func(context.Context, *sqlx.Tx) (Receipt, error) { return Receipt{Left: 12}, nil }
	_, replayed, err := payments.Do(ctx, "key-1", pay)
	fmt.Println(replayed, err)
	fmt.Println(payments.Forget(ctx, "key-1"))
	_, replayed, err = payments.Do(ctx, "key-1", pay)
	fmt.Println(replayed, err)
	// Output:
	// false <nil>
	// <nil>
	// false <nil>
}

// A job that runs once an hour deletes the keys that no client repeats any more.
func ExampleStore_Sweep() {
	payments, err := idempotency.New[Receipt](yesterday("key-1", "key-2"), "idempotency_keys")
	if err != nil {
		panic(err)
	}
	fmt.Println(payments.Sweep(ctx, 24*time.Hour))
	// Output:
	// 2 <nil>
}

func ExampleHandler_Sweep() {
	next := http.NotFoundHandler() // your handler
	user := func(r *http.Request) (string, error) { return "alice", nil }
	h, err := idempotency.NewHandler(yesterday("key-1"), "idempotency_keys", next, idempotency.ScopeBy(user))
	if err != nil {
		panic(err)
	}
	fmt.Println(h.Sweep(ctx, 24*time.Hour))
	// Output:
	// 1 <nil>
}

// An inbox: the message and its effect are committed together, in the transaction of the consumer.
func ExampleTxStore_Do() {
	db := bank()
	inbox, err := idempotency.New[Receipt](db, "idempotency_keys", idempotency.Scope("payments"))
	if err != nil {
		panic(err)
	}
	for range 2 { // the queue delivers the message twice
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			panic(err)
		}
		receipt, replayed, err := inbox.WithTx(tx).Do(ctx, "message-7", func(ctx context.Context) (r Receipt, err error) {
			row := tx.QueryRowContext(ctx, "UPDATE accounts SET balance = balance - $1 WHERE id = 1 RETURNING balance", int64(8))
			return r, row.Scan(&r.Left)
		})
		if err != nil {
			tx.Rollback()
			panic(err)
		}
		fmt.Println(receipt.Left, replayed, tx.Commit())
	}
	// Output:
	// 12 false <nil>
	// 12 true <nil>
}

// The transaction has other work too. Key, work and result are stored when it is committed.
func ExampleStore_WithTx() {
	db := bank()
	inbox, err := idempotency.New[Receipt](db, "idempotency_keys")
	if err != nil {
		panic(err)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		panic(err)
	}
	defer tx.Rollback()
	receipt, replayed, err := inbox.WithTx(tx).Do(ctx, "message-7", func(ctx context.Context) (Receipt, error) {
		return Receipt{Left: 12}, nil
	})
	fmt.Println(receipt.Left, replayed, err)
	fmt.Println(tx.Rollback()) // so the message has not been handled

	_, found, err := inbox.Lookup(ctx, "message-7")
	fmt.Println(found, err)
	// Output:
	// 12 false <nil>
	// <nil>
	// false <nil>
}

// The migration of the service makes the table.
func ExampleStore_Schema() {
	payments, err := idempotency.New[Receipt](bank(), "idempotency_keys")
	if err != nil {
		panic(err)
	}
	fmt.Println(payments.Schema(nogap.SQLite))
	// Output:
	// CREATE TABLE IF NOT EXISTS `idempotency_keys` (
	// 	scope BLOB NOT NULL,
	// 	idempotency_key BLOB NOT NULL,
	// 	fingerprint BLOB,
	// 	result BLOB,
	// 	result_type BLOB,
	// 	try BIGINT NOT NULL,
	// 	created_at TEXT NOT NULL,
	// 	PRIMARY KEY (scope, idempotency_key)
	// )
}

// bank is a PostgreSQL with one account, and room for one key.
func bank() *sql.DB {
	balance := int64(20)
	var entry, before []driver.Value // fingerprint, result and its type, try; nil if the key is not there
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		verb, _, _ := strings.Cut(c.Query, " ")
		switch {
		case strings.Contains(c.Query, "version()"):
			return fakedb.Row("PostgreSQL 15.0"), nil
		case c.Kind == fakedb.Begin:
			before = slices.Clone(entry)
		case c.Kind == fakedb.Rollback:
			entry = before
		case strings.Contains(c.Query, "accounts"):
			balance -= c.Arg(0).(int64)
			return fakedb.Row(balance), nil
		case verb == "INSERT" && entry == nil:
			entry = []driver.Value{c.Arg(2), nil, nil, int64(1)}
			return fakedb.Row(int64(1), "1"), nil
		case verb == "UPDATE":
			entry[1], entry[2] = c.Arg(2), c.Arg(3)
		case verb == "DELETE":
			entry = nil
		case verb == "SELECT" && entry != nil:
			return fakedb.Row(entry...), nil
		case verb == "INSERT" || verb == "SELECT":
			return fakedb.Reply{Columns: []string{"nothing"}}, nil
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}

// yesterday is a PostgreSQL with keys of yesterday.
func yesterday(keys ...string) *sql.DB {
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		r := fakedb.Reply{Columns: []string{"idempotency_key"}, RowsAffected: int64(len(keys))}
		switch {
		case strings.Contains(c.Query, "version()"):
			return fakedb.Row("PostgreSQL 15.0"), nil
		case strings.HasPrefix(c.Query, "SELECT"):
			for _, key := range keys {
				if string(c.Arg(1).([]byte)) < key {
					r.Rows = append(r.Rows, []driver.Value{[]byte(key)})
				}
			}
		case strings.Contains(c.Query, "DELETE"):
			return fakedb.Row(int64(len(keys))), nil
		}
		return r, nil
	})
}
