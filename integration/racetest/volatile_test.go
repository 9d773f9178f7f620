//go:build unix

package racetest_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/internal/racetest/explore"
)

// insertID inserts a row and returns the number that the server has made for it.
func insertID(ctx context.Context, q querier, query string, args ...any) (int64, error) {
	if q.DriverName() == "pgx" || q.DriverName() == "postgres" {
		n, err := number(ctx, q, query+" RETURNING id", args...)
		return int64(n), err
	}
	r, err := q.ExecContext(ctx, sqlx.Rebind(sqlx.BindType(q.DriverName()), query), args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// order places an order: numbers of the server's, what is made of them, what refers to them, a random key, and times.
func order(buyer string) work {
	return func(ctx context.Context, db *sqlx.DB) error {
		id, err := insertID(ctx, db, "INSERT INTO orders (buyer, placed, token) VALUES (?, ?, ?)", buyer, time.Now().UTC().Truncate(time.Second), rand.Text())
		if err != nil {
			return err
		}
		line, err := insertID(ctx, db, "INSERT INTO order_lines (order_id, item) VALUES (?, ?)", id, buyer+"'s pen")
		if err != nil {
			return err
		}
		_, err = exec(ctx, db, "UPDATE orders SET code = ? WHERE id = ?", fmt.Sprintf("ORD-%d-%d", id, line), id)
		return err
	}
}

var (
	ordersSchema = []string{
		"CREATE TABLE orders (id $serial, buyer VARCHAR(20) NOT NULL, placed TIMESTAMP NULL, token VARCHAR(40) NOT NULL, code VARCHAR(40))",
		"CREATE TABLE order_lines (id $serial, order_id BIGINT NOT NULL, item VARCHAR(40) NOT NULL)",
	}
	profiles = []string{"CREATE TABLE profiles (id $serial, person INT NOT NULL, deleted TIMESTAMP NULL, picture VARCHAR(40) NOT NULL)"}
	picture  = []string{"INSERT INTO profiles (person, picture) VALUES (1, 'first')"}
)

// replace deletes the row that is live, softly, and inserts another one.
func replace(ctx context.Context, db *sqlx.DB) error {
	id, err := number(ctx, db, "SELECT id FROM profiles WHERE person = 1 AND deleted IS NULL")
	if err != nil {
		return err
	}
	if _, err := exec(ctx, db, "UPDATE profiles SET deleted = ? WHERE id = ?", time.Now().UTC(), id); err != nil {
		return err
	}
	_, err = exec(ctx, db, "INSERT INTO profiles (person, picture) VALUES (1, ?)", rand.Text())
	return err
}

func login(person string) work {
	return func(ctx context.Context, db *sqlx.DB) error {
		_, err := exec(ctx, db, "UPDATE last SET person = ?, at = ? WHERE id = 1", person, time.Now().UTC())
		return err
	}
}

// Numbers, keys and times that no two runs have in common are no failure, and don't hide one.
func TestVolatile(t *testing.T) {
	matrix.Run(t, targets(), func(t *testing.T, target matrix.Target) {
		t.Parallel()
		for _, p := range []program{
			{name: "orders", schema: ordersSchema, clients: []work{order("alice"), order("bob")}, options: bounded},
			{name: "last login", schema: []string{"CREATE TABLE last (id INT PRIMARY KEY, person VARCHAR(20), at TIMESTAMP NULL)"},
				data: []string{"INSERT INTO last (id) VALUES (1)"}, clients: []work{login("alice"), login("bob")}},
		} {
			t.Run(p.name, func(t *testing.T) {
				r, err := explore.Run(t.Context(), p.config(t, target))
				require.NoError(t, err)
				require.Nil(t, r.Failure, "%+v", r.Failure)
				require.True(t, r.Complete && r.Inconclusive() == "", "%+v", r)
			})
		}
		t.Run("two live rows", func(t *testing.T) {
			r, err := explore.Run(t.Context(), program{schema: profiles, data: picture, clients: both(replace)}.config(t, target))
			require.NoError(t, err)
			require.NotNil(t, r.Failure, "%+v", r)
			require.Empty(t, r.Unsteady, "the server makes the numbers that differ after each Setup")
		})
		t.Run("Ignore", func(t *testing.T) {
			cfg := program{schema: profiles, data: picture, clients: both(replace)}.config(t, target)
			cfg.Ignore, cfg.MaxSchedules = []string{"PROFILES.Picture"}, 1
			_, err := explore.Run(t.Context(), cfg)
			require.NoError(t, err)
			cfg.Ignore = []string{"profiles.pictures"}
			_, err = explore.Run(t.Context(), cfg)
			require.ErrorContains(t, err, `the table profiles has no column "pictures", only id, person, deleted, picture`)
		})
	})
}

// Every driver is explored alike.
func TestDrivers(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		t.Parallel()
		r, err := explore.Run(t.Context(), bugs[0].config(t, target))
		require.NoError(t, err)
		require.NotNil(t, r.Failure)
		require.Equal(t, 1, r.Failure.Number)
		locked := program{schema: stock, data: ten, clients: both(retried(in(levelDefault, func(ctx context.Context, tx *sqlx.Tx) error {
			return takeOne(ctx, tx, forUpdate(tx))
		})))}
		r, err = explore.Run(t.Context(), locked.config(t, target))
		require.NoError(t, err)
		require.Nil(t, r.Failure, "%+v", r.Failure)
		require.True(t, r.Complete && r.Inconclusive() == "", "%+v", r)
	})
}
