//go:build unix

// Package idempotency_test compares package idempotency with the same written by hand, side by side in one run:
//
//	go test -C benchmarks -run '^$' -bench . ./idempotency
package idempotency_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/benchmarks/pair"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

type receipt struct{ Left int64 }

const decrement = "UPDATE accounts SET balance = balance - 1 WHERE id = 1 RETURNING balance"

// schema is the two ways' tables, and a key that one knows.
var schema = []string{
	"CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL)",
	"INSERT INTO accounts VALUES (1, 1000000000)",
	"CREATE TABLE by_hand (key text PRIMARY KEY, result text)",
	"INSERT INTO by_hand VALUES ('stored', '1')",
}

func storeOf(b *testing.B, db *sqlx.DB) *idempotency.Store[receipt] {
	b.Helper()
	s, err := idempotency.New[receipt](db.DB, "idempotency_keys")
	require.NoError(b, err)
	_, err = db.Exec(s.Schema(nogap.Postgres))
	require.NoError(b, err)
	_, _, err = s.Do(b.Context(), "stored", work)
	require.NoError(b, err)
	return s
}

var last atomic.Int64

// newKey returns one that nobody has used.
func newKey() string { return "key-" + strconv.FormatInt(last.Add(1), 10) }

// byHand inserts the key, works, stores the result and commits.
func byHand(ctx context.Context, db *sqlx.DB) error {
	key := newKey()
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO by_hand (key) VALUES ($1) ON CONFLICT DO NOTHING", key); err != nil {
		return err
	}
	var left int64
	if err := tx.GetContext(ctx, &left, decrement); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE by_hand SET result = $2 WHERE key = $1", key, strconv.FormatInt(left, 10)); err != nil {
		return err
	}
	return tx.Commit()
}

func work(ctx context.Context, tx *sqlx.Tx) (r receipt, err error) {
	return r, tx.GetContext(ctx, &r.Left, decrement)
}

// A first call: what does Do cost?
func BenchmarkFirst(b *testing.B) {
	pair.Each(b, schema, func(b *testing.B, db *sqlx.DB) {
		s := storeOf(b, db)
		pair.Pair{Name: "Do", ByHand: byHand, Nogap: func(ctx context.Context, _ *sqlx.DB) error {
			_, _, err := s.Do(ctx, newKey(), work)
			return err
		}}.OneCaller(b, db)
	})
}

func readByHand(ctx context.Context, db *sqlx.DB) error {
	var result string
	return db.GetContext(ctx, &result, "SELECT result FROM by_hand WHERE key = 'stored'")
}

var errNotReplayed = errors.New("not replayed")

// A replay beside one read, of a key that this process has seen.
func BenchmarkReplay(b *testing.B) {
	pair.Each(b, schema, func(b *testing.B, db *sqlx.DB) {
		s := storeOf(b, db)
		replay(b, db, s, func() string { return "stored" })
	})
}

// A replay beside one read, of a key that another process has stored.
func BenchmarkReplayElsewhere(b *testing.B) {
	pair.Each(b, schema, func(b *testing.B, db *sqlx.DB) {
		s := storeOf(b, db)
		_, err := db.Exec(`INSERT INTO idempotency_keys
			SELECT scope, convert_to('copy-' || n, 'UTF8'), fingerprint, result, result_type, try, created_at
			FROM idempotency_keys, generate_series(1, 200000) AS n`)
		require.NoError(b, err)
		n := 0
		replay(b, db, s, func() string {
			n++
			return "copy-" + strconv.Itoa(n)
		})
	})
}

func replay(b *testing.B, db *sqlx.DB, s *idempotency.Store[receipt], key func() string) {
	b.Helper()
	pair.Pair{Name: "Do", ByHand: readByHand, Nogap: func(ctx context.Context, _ *sqlx.DB) error {
		_, replayed, err := s.Do(ctx, key(), work)
		if err == nil && !replayed {
			err = errNotReplayed
		}
		return err
	}}.OneCaller(b, db)
}
