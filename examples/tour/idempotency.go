package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/idempotency"
)

// Receipt is what a payment answers.
type Receipt struct {
	Left int64 `json:"left"`
}

func twice(ctx context.Context, db *sql.DB) error {
	wallet, err := atomic.NewCounter[int64](db, "wallets", "balance")
	if err != nil {
		return err
	}
	payments, err := idempotency.New[Receipt](db, "idempotency_keys") // once
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, payments.Schema(nogap.SQLite)); err != nil { // CREATE TABLE, in a migration
		return err
	}
	const amount, buyer = 100, "alice"
	key := "8e03978e" // that the client makes for a request, and sends again with each try of it
	for range 2 {
		receipt, replayed, err := payments.Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (Receipt, error) {
			left, err := wallet.WithTx(tx).Decrement(ctx, amount, buyer)
			return Receipt{Left: left}, err
		})
		if err != nil {
			return err
		}
		fmt.Println(receipt.Left, "left, replayed:", replayed)
	}
	return nil
}

// userID is who has sent the request: the one who is logged in.
func userID(r *http.Request) (string, error) { return r.Header.Get("User"), nil }

func twiceOverHTTP(ctx context.Context, db *sql.DB) error {
	wallet, err := atomic.NewCounter[int64](db, "wallets", "balance")
	if err != nil {
		return err
	}
	pay := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		left, err := wallet.WithTx(idempotency.Tx(r.Context())).Decrement(r.Context(), 100, "alice")
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable) // rolls back
			return
		}
		fmt.Fprint(w, left, " left")
	})
	h, err := idempotency.NewHandler(db, "idempotency_keys", pay, idempotency.ScopeBy(userID))
	if err != nil {
		return err
	}
	for range 2 {
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/payments", nil)
		r.Header.Set("Idempotency-Key", `"8e03978e"`)
		r.Header.Set("User", "alice")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	return nil
}
