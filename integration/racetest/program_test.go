//go:build unix

package racetest_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/racetest/explore"
	"github.com/nogap-go/nogap/racetest"
)

// work is what a client does.
type work func(ctx context.Context, db *sqlx.DB) error

// program is a scenario for any server.
type program struct {
	name    string
	schema  []string // $now and $serial are what the server has in their place
	data    []string // after a DELETE of all tables
	clients []work
	// not names the dialects on which it is another program, or where the server does not have what it needs.
	not []nogap.Dialect
	// options change the scenario.
	options func(*explore.Config)
}

func (p program) on(d nogap.Dialect) bool {
	for _, n := range p.not {
		if n == d {
			return false
		}
	}
	return true
}

// config returns the scenario on a fresh database.
func (p program) config(t testing.TB, target matrix.Target) explore.Config {
	dsn := target.DSN(t)
	db := target.Connect(t, dsn)
	var wipe []string
	for _, statement := range p.schema {
		statement = forServer(target.Dialect).Replace(statement)
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err, statement)
		if rest, ok := strings.CutPrefix(statement, "CREATE TABLE "); ok {
			name := strings.Fields(strings.TrimPrefix(rest, "IF NOT EXISTS "))[0]
			wipe = append([]string{"DELETE FROM " + name}, wipe...)
		}
	}
	cfg := explore.Config{
		Connector: racetest.Open(target.Driver, dsn),
		Setup: func(ctx context.Context, db *sql.DB) error {
			for _, statement := range append(wipe, p.data...) {
				if _, err := db.ExecContext(ctx, statement); err != nil {
					return err
				}
			}
			return nil
		},
		MaxSchedules: 3000,
		Budget:       4 * time.Minute,
	}
	for i, w := range p.clients {
		cfg.Clients = append(cfg.Clients, explore.Client{Name: []string{"alice", "bob", "carol"}[i], Run: func(ctx context.Context, db *sql.DB) error {
			return w(ctx, sqlx.NewDb(db, target.Driver))
		}})
	}
	if p.options != nil {
		p.options(&cfg)
	}
	return cfg
}

func forServer(d nogap.Dialect) *strings.Replacer {
	switch d {
	case nogap.Postgres:
		return strings.NewReplacer("$serial", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY")
	case nogap.SQLite:
		return strings.NewReplacer("$serial", "INTEGER PRIMARY KEY")
	}
	return strings.NewReplacer("$serial", "BIGINT AUTO_INCREMENT PRIMARY KEY")
}

// both is a program's two clients that do the same.
func both(w work) []work { return []work{w, w} }

// querier is a pool or a transaction.
type querier interface {
	sqlx.ExtContext
}

func number(ctx context.Context, q querier, query string, args ...any) (n int, err error) {
	err = sqlx.GetContext(ctx, q, &n, sqlx.Rebind(sqlx.BindType(q.DriverName()), query), args...)
	return n, err
}

func exec(ctx context.Context, q querier, query string, args ...any) (affected int64, err error) {
	r, err := q.ExecContext(ctx, sqlx.Rebind(sqlx.BindType(q.DriverName()), query), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// all runs statements.
func all(ctx context.Context, q querier, statements ...string) error {
	for _, s := range statements {
		if _, err := exec(ctx, q, s); err != nil {
			return err
		}
	}
	return nil
}

// in returns the work that does fn in a transaction.
func in(level sql.IsolationLevel, fn func(ctx context.Context, tx *sqlx.Tx) error) work {
	return func(ctx context.Context, db *sqlx.DB) error {
		tx, err := db.BeginTxx(ctx, &sql.TxOptions{Isolation: level})
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return tx.Commit()
	}
}

// retried runs work again for as long as the server undoes it.
func retried(w work) work {
	return func(ctx context.Context, db *sqlx.DB) error {
		for {
			if err := w(ctx, db); !nogap.Retryable(err) {
				return err
			}
		}
	}
}

// forUpdate is what locks the rows of a SELECT; SQLite has nothing of the kind.
func forUpdate(q querier) string {
	if strings.HasPrefix(q.DriverName(), "sqlite") || q.DriverName() == "ncruces" {
		return ""
	}
	return " FOR UPDATE"
}

var errSoldOut = errors.New("sold out")
