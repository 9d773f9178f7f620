package bugs

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go

	"github.com/nogap-go/nogap/racetest"
)

// bug is one pair. Each function is a request of a client.
type bug struct {
	name          string
	setup         string
	before, after func(ctx context.Context, s *service, client string) error
}

var bugs = []bug{
	{
		name: "quota", setup: "INSERT INTO accounts VALUES ('ann', 10)",
		before: func(ctx context.Context, s *service, _ string) error { return s.spendWithGap(ctx, "ann", 7) },
		after:  func(ctx context.Context, s *service, _ string) error { return s.spend(ctx, "ann", 7) },
	},
	{
		name: "code", setup: "INSERT INTO codes VALUES ('GIFT', 50, NULL); INSERT INTO accounts VALUES ('ann', 0), ('bob', 0)",
		before: func(ctx context.Context, s *service, client string) error {
			return s.redeemWithGap(ctx, "GIFT", client)
		},
		after: func(ctx context.Context, s *service, client string) error { return s.redeem(ctx, "GIFT", client) },
	},
	{
		name: "position", setup: "INSERT INTO lists VALUES ('todo', 0)",
		before: func(ctx context.Context, s *service, client string) error {
			return s.addCardWithGap(ctx, "todo", client)
		},
		after: func(ctx context.Context, s *service, client string) error { return s.addCard(ctx, "todo", client) },
	},
	{
		name: "token", setup: "INSERT INTO refresh_tokens VALUES ('first', 'ann', NULL)",
		before: func(ctx context.Context, s *service, client string) error {
			return s.refreshWithGap(ctx, "first", "of "+client)
		},
		after: func(ctx context.Context, s *service, client string) error {
			return s.refresh(ctx, "first", "of "+client)
		},
	},
	{
		name: "coupon", setup: "INSERT INTO coupons VALUES ('SUMMER', 1)",
		before: func(ctx context.Context, s *service, client string) error {
			return s.applyWithGap(ctx, "SUMMER", client)
		},
		after: func(ctx context.Context, s *service, client string) error { return s.apply(ctx, "SUMMER", client) },
	},
	{
		name: "version", setup: "INSERT INTO pages VALUES ('home', 'hello', 1)",
		before: func(ctx context.Context, s *service, client string) error {
			return s.appendWithGap(ctx, "home", client)
		},
		after: func(ctx context.Context, s *service, client string) error { return s.append(ctx, "home", client) },
	},
}

// scenario has two clients make the same request.
func scenario(t *testing.T, setup string, request func(context.Context, *service, string) error) racetest.Scenario {
	t.Helper()
	dsn := "file:" + filepath.Join(t.TempDir(), "bugs.db") +
		"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
	db, err := sql.Open("sqlite", dsn)
	require.NoError(t, err)
	defer db.Close()
	for _, s := range schema {
		_, err := db.Exec(s)
		require.NoError(t, err)
	}
	client := func(name string) racetest.Client {
		return racetest.Client{Name: name, Run: func(ctx context.Context, db *sql.DB) error {
			s, err := newService(db)
			if err != nil {
				return err
			}
			return request(ctx, s, name)
		}}
	}
	return racetest.Scenario{
		Open: racetest.Open("sqlite", dsn),
		Setup: func(ctx context.Context, db *sql.DB) error {
			_, err := db.ExecContext(ctx, `DELETE FROM accounts; DELETE FROM codes; DELETE FROM lists; DELETE FROM cards;
				DELETE FROM refresh_tokens; DELETE FROM coupons; DELETE FROM redemptions; DELETE FROM pages; `+setup)
			return err
		},
		Clients:      []racetest.Client{client("ann"), client("bob")},
		MaxSchedules: 20, Budget: time.Minute, // each gap shows in the first schedule
	}
}

func TestBugs(t *testing.T) {
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			racetest.MustFail(t, scenario(t, b.setup, b.before)) // logs the schedule that goes wrong
			racetest.Explore(t, scenario(t, b.setup, b.after))
		})
	}
}

func TestSave(t *testing.T) {
	scene := scenario(t, bugs[5].setup, nil)
	db := sql.OpenDB(scene.Open)
	defer db.Close()
	require.NoError(t, scene.Setup(t.Context(), db))
	s, err := newService(db)
	require.NoError(t, err)
	mine, err := s.pages.Get(t.Context(), "home")
	require.NoError(t, err)
	require.NoError(t, s.append(t.Context(), "home", ", world"))
	require.ErrorIs(t, s.save(t.Context(), mine), errConflict)
	mine, err = s.pages.Get(t.Context(), "home")
	require.NoError(t, err)
	mine.Text += "!"
	require.NoError(t, s.save(t.Context(), mine))
	require.Equal(t, page{"home", "hello, world!", 3}, *mine)
}
