//go:build unix

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
	"github.com/nogap-go/nogap/idempotency"
)

var once = contest.Scenario{
	Name:       "once",
	Task:       "Pay once per key, of which each comes twice, and return the stored receipt to the second call.",
	Places:     places.SQL,
	NewSubject: func() contest.Subject { return &payments{} },
	Ways: []contest.Way{
		{Name: "idempotency.Do", Kind: contest.Nogap, Open: idempotencyDo},
		{Name: "INSERT key first", Kind: contest.ByHand, Open: insertKeyFirst},
		{Name: "read, then write", Kind: contest.Naive, Open: readThenPay},
	},
}

type receipt struct{ Paid int64 }

// payments are the Subject to which each first call with a key adds a row.
type payments struct {
	calls  atomic.Int64
	before int64
}

func (*payments) Setup(ctx context.Context, s *contest.Stage) error {
	return execAll(ctx, s.DB, "DROP TABLE IF EXISTS payments", "DROP TABLE IF EXISTS payment_keys",
		"CREATE TABLE payments (payment_key VARCHAR(100) NOT NULL)",
		"CREATE TABLE payment_keys (payment_key VARCHAR(100) NOT NULL PRIMARY KEY, result VARCHAR(100))")
}

// key returns the next key. Two calls get the same one.
func (p *payments) key() string { return fmt.Sprint("key-", (p.calls.Add(1)+1)/2) }

func (p *payments) Before(ctx context.Context, s *contest.Stage) error {
	p.calls.Store((p.calls.Load() + 1) / 2 * 2) // no key is one of two rounds
	p.before = p.calls.Load()
	return execAll(ctx, s.DB, "DELETE FROM payments")
}

func (p *payments) After(ctx context.Context, s *contest.Stage, _, failed int64) (w contest.Wrong, err error) {
	var paid, keys int64
	err = s.DB.QueryRowContext(ctx, "SELECT count(*), count(DISTINCT payment_key) FROM payments").Scan(&paid, &keys)
	asked := (p.calls.Load() - p.before + 1) / 2
	return contest.Wrong{Lost: max(0, asked-failed-keys), Extra: paid - keys}, err
}

func idempotencyDo(ctx context.Context, s *contest.Stage) (contest.Call, error) {
	store, err := idempotency.New[receipt](s.DB, "idempotency_keys")
	if err != nil {
		return nil, err
	}
	if err := execAll(ctx, s.DB, "DROP TABLE IF EXISTS idempotency_keys", store.Schema(s.Dialect)); err != nil {
		return nil, err
	}
	p, pay := s.Subject.(*payments), bind(s, "INSERT INTO payments (payment_key) VALUES (?)")
	return func(ctx context.Context, _ int) error {
		key := p.key()
		_, _, err := store.Do(ctx, key, func(ctx context.Context, tx *sqlx.Tx) (receipt, error) {
			_, err := tx.ExecContext(ctx, pay, key)
			return receipt{Paid: 1}, err
		})
		return err
	}, nil
}

func insertKeyFirst(_ context.Context, s *contest.Stage) (contest.Call, error) {
	p, pay := s.Subject.(*payments), bind(s, "INSERT INTO payments (payment_key) VALUES (?)")
	insert := bind(s, "INSERT INTO payment_keys (payment_key) VALUES (?) ON CONFLICT DO NOTHING")
	if s.LikeMySQL() {
		insert = "INSERT IGNORE INTO payment_keys (payment_key) VALUES (?)"
	}
	read := bind(s, "SELECT result FROM payment_keys WHERE payment_key = ?")
	keep := bind(s, "UPDATE payment_keys SET result = ? WHERE payment_key = ?")
	payOnce := func(ctx context.Context, tx nogap.Tx, key string) error {
		res, err := tx.ExecContext(ctx, insert, key)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		if n == 0 {
			var result string
			return tx.QueryRowContext(ctx, read, key).Scan(&result)
		}
		if _, err := tx.ExecContext(ctx, pay, key); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, keep, `{"Paid":1}`, key)
		return err
	}
	return func(ctx context.Context, _ int) error {
		key := p.key()
		return inTx(ctx, s, nil, func(tx nogap.Tx) error { return payOnce(ctx, tx, key) })
	}, nil
}

// readThenPay pays twice if both calls with a key look before either has written.
func readThenPay(_ context.Context, s *contest.Stage) (contest.Call, error) {
	p, pay := s.Subject.(*payments), bind(s, "INSERT INTO payments (payment_key) VALUES (?)")
	read := bind(s, "SELECT count(*) FROM payment_keys WHERE payment_key = ?")
	keep := bind(s, "INSERT INTO payment_keys (payment_key, result) VALUES (?, ?)")
	return func(ctx context.Context, _ int) error {
		key, paid := p.key(), 0
		if err := s.DB.QueryRowContext(ctx, read, key).Scan(&paid); err != nil || paid > 0 {
			return err
		}
		_, err := s.DB.ExecContext(ctx, pay, key)
		_, err2 := s.DB.ExecContext(ctx, keep, key, `{"Paid":1}`)
		return errors.Join(err, err2)
	}, nil
}
