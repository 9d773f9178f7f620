package racetest

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go

	"github.com/nogap-go/nogap/racetest"
)

// scenario has two customers redeem the last use of a coupon. It says nothing about what must come out.
func scenario(t *testing.T, redeem func(*service, context.Context, string, string) error) racetest.Scenario {
	dsn := "file:" + filepath.Join(t.TempDir(), "coupons.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	defer db.Close()
	run := func(ctx context.Context, db *sql.DB, statements ...string) error {
		for _, s := range statements {
			if _, err := db.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
	require.NoError(t, run(t.Context(), db, schema...))

	customer := func(name string) racetest.Client {
		return racetest.Client{Name: name, Run: func(ctx context.Context, db *sql.DB) error {
			s, err := newService(db)
			if err != nil {
				return err
			}
			return redeem(s, ctx, "SUMMER", name)
		}}
	}
	return racetest.Scenario{
		Open: racetest.Open("sqlite", dsn),
		Setup: func(ctx context.Context, db *sql.DB) error {
			return run(ctx, db, "DELETE FROM redemptions", "DELETE FROM coupons", "INSERT INTO coupons VALUES ('SUMMER', 1)")
		},
		Clients: []racetest.Client{customer("ann"), customer("bob")},
	}
}

// The test that finds the bug. In a service it would be racetest.Explore, and fail with the schedule that is logged here.
func TestRedeemWithGap(t *testing.T) {
	failure := racetest.MustFail(t, scenario(t, (*service).redeemWithGap))
	require.Equal(t, "lost update", failure.Kind)
}

// The same test of the service without the bug plays every schedule that can differ.
func TestRedeem(t *testing.T) {
	racetest.Explore(t, scenario(t, (*service).redeem))
}
