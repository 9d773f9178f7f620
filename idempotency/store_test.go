package idempotency_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// silent returns a database to which nothing may be sent.
func silent(t *testing.T) *sql.DB {
	t.Helper()
	db := fakedb.New(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		t.Errorf("sent: %s", c.Query)
		return fakedb.Reply{}, nil
	}).DB()
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestInvalidOptions(t *testing.T) {
	db := silent(t)
	for want, opts := range map[string][]idempotency.Option{
		"option 0 is nil":      {nil},
		"Scope is given twice": {idempotency.Scope("a"), idempotency.Scope("b")},
		"name is empty":        {idempotency.Scope("")},
		"has a NUL":            {idempotency.Scope("a\x00")},
		"256 bytes":            {idempotency.Scope(strings.Repeat("x", 256))},
		"WithDialect":          {idempotency.WithDialect(99)},
	} {
		_, err := idempotency.New[int](db, "keys", opts...)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "idempotency: ")
	}
	_, err := idempotency.New[int](nil, "keys")
	require.ErrorContains(t, err, "db is nil")
	_, err = idempotency.New[int](db, "")
	require.Error(t, err)
}

func TestInvalidCalls(t *testing.T) {
	s, err := idempotency.New[int](silent(t), "keys")
	require.NoError(t, err)
	fn := func(context.Context, *sqlx.Tx) (int, error) { return 0, nil }
	for want, opts := range map[string][]idempotency.DoOption{
		"option 0 is nil":           {nil},
		"contradict":                {idempotency.NoWait(), idempotency.Timeout(time.Second)},
		"not positive":              {idempotency.Timeout(0)},
		"less than 1":               {idempotency.MaxAttempts(0)},
		"Isolation":                 {idempotency.Isolation(sql.LevelLinearizable)},
		"Fingerprint is given twic": {idempotency.Fingerprint("a"), idempotency.Fingerprint("a")},
	} {
		_, _, err := s.Do(t.Context(), "k", fn, opts...)
		require.ErrorContains(t, err, want)
	}
	for _, key := range []string{"", "a\x00", strings.Repeat("x", 256)} {
		_, _, err := s.Do(t.Context(), key, fn)
		require.ErrorContains(t, err, "the key")
	}
	_, _, err = s.Do(t.Context(), "k", nil)
	require.ErrorContains(t, err, "callback is nil")
}

func TestSchema(t *testing.T) {
	s, err := idempotency.New[int](silent(t), "shop.keys")
	require.NoError(t, err)
	for dialect, words := range map[nogap.Dialect][]string{
		nogap.Postgres: {`"shop"."keys"`, "BYTEA", "PRIMARY KEY (scope, idempotency_key)"},
		nogap.MySQL:    {"`shop`.`keys`", "idempotency_key VARBINARY(255)", "LONGBLOB", "ENGINE=InnoDB"},
		nogap.MariaDB:  {"VARBINARY(255)", "LONGBLOB", "ENGINE=InnoDB"},
		nogap.SQLite:   {"BLOB"},
	} {
		ddl := s.Schema(dialect)
		require.True(t, strings.HasPrefix(ddl, "CREATE TABLE IF NOT EXISTS"))
		for _, word := range words {
			require.Contains(t, ddl, word)
		}
	}
	require.Panics(t, func() { s.Schema(99) })
}
