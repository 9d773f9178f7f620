package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	nogapatomic "github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/idempotency"
)

// patience is how long the shop waits for the provider. A real one waits longer.
const patience = 50 * time.Millisecond

// receipt is what a customer gets.
type receipt struct {
	Payment int64
	Status  string // paid or refused
}

// shop takes payments. The provider is not called in a transaction: that may take a minute, with locks and a connection held, and
// a ROLLBACK does not undo a charge. The numbers are the steps of docs/idempotency.md.
type shop struct {
	db       *sql.DB
	begun    *idempotency.Store[int64]   // the payment's ID, by the customer's key
	settled  *idempotency.Store[receipt] // by the payment's ID
	status   *nogapatomic.State[string]
	provider string // its address
	client   *http.Client
}

func newShop(ctx context.Context, db *sql.DB, provider string) (*shop, error) {
	begun, err := idempotency.New[int64](db, "idempotency_keys", idempotency.Scope("begun"))
	if err != nil {
		return nil, err
	}
	settled, err := idempotency.New[receipt](db, "idempotency_keys", idempotency.Scope("settled"))
	if err != nil {
		return nil, err
	}
	status, err := nogapatomic.NewState[string](db, "payments", "status")
	if err != nil {
		return nil, err
	}
	for _, statement := range []string{
		begun.Schema(nogap.SQLite),
		"CREATE TABLE payments (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, amount INTEGER NOT NULL, status TEXT NOT NULL)",
	} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	return &shop{
		db: db, begun: begun, settled: settled, status: status, provider: provider, client: &http.Client{Timeout: patience},
	}, nil
}

// pay charges a customer once for a key. After an error the customer tries again with the same key, or the job settles it.
func (s *shop) pay(ctx context.Context, key, customer string, amount int64) (receipt, error) {
	id, _, err := s.begun.Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (id int64, err error) { // 1
		err = tx.GetContext(ctx, &id, "INSERT INTO payments (customer, amount, status) VALUES (?, ?, 'pending') RETURNING id",
			customer, amount)
		return id, err
	}, idempotency.Fingerprint(fmt.Sprint(customer, " ", amount)))
	if err != nil {
		return receipt{}, err
	}
	return s.settle(ctx, id, amount)
}

// settle has the provider charge a payment that has begun, and writes down what came of it. It may be called at any time, by
// several at once.
func (s *shop) settle(ctx context.Context, id, amount int64) (receipt, error) {
	key := strconv.FormatInt(id, 10)
	// Providers forget their keys, after a day for example: what is settled must not go there again.
	if r, found, err := s.settled.Lookup(ctx, key); err != nil || found { // 2
		return r, err
	}
	status, err := s.charge(ctx, "payment-"+key, amount) // 3
	if err != nil {
		return receipt{}, err // charged or not: still pending
	}
	r, _, err := s.settled.Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (receipt, error) { // 4
		return receipt{id, status}, s.status.WithTx(tx).Transition(ctx, "pending", status, id)
	})
	return r, err
}

// charge asks the provider, which charges once for a key, and returns what the payment's status is then.
func (s *shop) charge(ctx context.Context, key string, amount int64) (status string, err error) {
	form := url.Values{"amount": {strconv.FormatInt(amount, 10)}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.provider+"/charges?"+form.Encode(), nil)
	if err != nil {
		return "", err
	}
	r.Header.Set("Idempotency-Key", strconv.Quote(key))
	answer, err := s.client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusCreated:
		return "paid", nil
	case http.StatusPaymentRequired:
		return "refused", nil
	}
	return "", errors.New("the provider answered " + answer.Status)
}

// settlePending is the job that settles the payments whose customers don't come back, and returns how many. A real one
// leaves those alone that are young, and runs every few minutes.
func (s *shop) settlePending(ctx context.Context) (settled int64, err error) {
	type payment struct{ ID, Amount int64 }
	var done atomic.Int64
	for {
		var pending []payment
		if err := sqlx.NewDb(s.db, "sqlite").SelectContext(ctx, &pending,
			"SELECT id, amount FROM payments WHERE status = 'pending' ORDER BY id LIMIT 20"); err != nil || len(pending) == 0 {
			return done.Load(), err
		}
		var wg sync.WaitGroup
		for _, p := range pending {
			wg.Go(func() {
				if _, err := s.settle(ctx, p.ID, p.Amount); err == nil { // else in the next round
					done.Add(1)
				}
			})
		}
		wg.Wait()
	}
}
