package pessimistic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/pessimistic"
)

// shelf is a server whose table items has the ids, of which those in locked are found when they are locked.
func shelf(ids []int64, found ...int64) *fakedb.Server {
	return fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		r := fakedb.Reply{Columns: []string{"id"}, RowsAffected: 1}
		switch {
		case strings.Contains(c.Query, "LIMIT"):
			for _, id := range ids {
				r.Rows = append(r.Rows, []driver.Value{id})
			}
		case strings.HasPrefix(c.Query, "SELECT"):
			keys := strings.Count(c.Query, `"stock", "id"`) // behind the other columns
			r.Columns = []string{"id", "stock", "id"}[:2+keys]
			key := c.Arg(len(c.Args) - 1)
			for _, id := range found {
				if key == id {
					r.Rows = [][]driver.Value{[]driver.Value{id, int64(100), id}[:2+keys]}
				}
			}
		case strings.HasPrefix(c.Query, "DO"):
			r.Columns = []string{"n"}
		}
		return r, nil
	})
}

func idsOf(items []*item) []int64 {
	ids := []int64{}
	for _, it := range items {
		ids = append(ids, it.ID)
	}
	return ids
}

// The keys are chosen without a lock and locked one by one in their order, where the condition stands again. What it no longer
// chooses is left out.
func TestStatementsOfACondition(t *testing.T) {
	for _, tt := range []struct {
		dialect nogap.Dialect
		where   string
		want    []string
	}{
		{nogap.Postgres, "stock > $1 -- '{'", []string{
			"BEGIN", `SELECT "id" FROM "items" WHERE (stock > $1 -- '{'` + "\n) LIMIT 4 [5]",
			`SELECT "id", "stock" FROM "items" WHERE (stock > $1 -- '{'` + "\n" + `) AND "id" = $2 FOR UPDATE [5 2]`,
			`SELECT "id", "stock" FROM "items" WHERE (stock > $1 -- '{'` + "\n" + `) AND "id" = $2 FOR UPDATE [5 7]`,
			`SELECT "id", "stock" FROM "items" WHERE (stock > $1 -- '{'` + "\n" + `) AND "id" = $2 FOR UPDATE [5 7]`, // inserted again?
			`SELECT "id", "stock" FROM "items" WHERE (stock > $1 -- '{'` + "\n" + `) AND "id" = $2 FOR UPDATE [5 10]`, "COMMIT"}},
		{nogap.MySQL, "stock > ?", []string{
			"BEGIN Read Committed", "SELECT `id` FROM `items` WHERE (stock > ?\n) LIMIT 4 [5]",
			"DO ? [0]",
			"SELECT `id`, `stock` FROM `items` WHERE (stock > ?\n) AND `id` = ? FOR UPDATE [5 2]",
			"SELECT `id`, `stock` FROM `items` WHERE (stock > ?\n) AND `id` = ? FOR UPDATE [5 7]",
			"SELECT `id`, `stock` FROM `items` WHERE (stock > ?\n) AND `id` = ? FOR UPDATE [5 10]", "COMMIT"}},
	} {
		t.Run(tt.dialect.String(), func(t *testing.T) {
			s := shelf([]int64{10, 2, 7}, 2, 10)
			db := s.DB()
			defer db.Close()
			rows := pessimistic.Rows{Table: "items", Where: tt.where, Args: []any{5}, Limit: 3}
			err := pessimistic.WithRowLocks(t.Context(), db, rows, func(_ context.Context, _ *sqlx.Tx, items []*item) error {
				require.Equal(t, []int64{2, 10}, idsOf(items))
				return nil
			}, pessimistic.WithDialect(tt.dialect))
			require.NoError(t, err)
			require.Equal(t, tt.want, statements(s))
		})
	}
}

// statements are those of the transaction, with their arguments.
func statements(s *fakedb.Server) (got []string) {
	for _, c := range s.Calls() {
		line := c.String()
		switch {
		case c.Kind == fakedb.Begin:
			got = nil
			if c.Tx.Isolation != 0 {
				line += " " + sql.IsolationLevel(c.Tx.Isolation).String()
			}
		case c.Kind == fakedb.Query || c.Kind == fakedb.Exec:
			args := []any{}
			for i := range c.Args {
				args = append(args, c.Arg(i))
			}
			line += " " + fmt.Sprint(args)
		}
		got = append(got, line)
	}
	return got
}

func TestLimitOfACondition(t *testing.T) {
	for limit, want := range map[int]string{
		2: "pessimistic: items: too many rows: the Limit is 2",
		0: "pessimistic: items: too many rows: the Limit is 1000",
	} {
		ids := make([]int64, 1001)
		for i := range ids {
			ids[i] = int64(i)
		}
		s := shelf(ids)
		db := s.DB()
		defer db.Close()
		rows := pessimistic.Rows{Table: "items", Where: "true", Limit: limit}
		err := pessimistic.WithRowLocks(t.Context(), db, rows, func(context.Context, *sqlx.Tx, []*item) error { return errBoom }, asPostgres)
		require.EqualError(t, err, want)
		require.ErrorIs(t, err, pessimistic.ErrTooManyRows)
		require.Len(t, s.Log(), 3, "nothing is locked")
		require.Equal(t, "ROLLBACK", s.Log()[2])
	}
}

func TestBadRows(t *testing.T) {
	for want, rows := range map[string]pessimistic.Rows{
		"Keys and Where":         {Keys: []any{1}, Where: "true"},
		"Args, but no Where":     {Keys: []any{1}, Args: []any{1}},
		"a Limit, but no Where":  {Keys: []any{1}, Limit: 1},
		"Limit -1 of the rows":   {Where: "true", Limit: -1},
		"is out of range":        {Where: "true", Limit: math.MaxInt},
		"no keys of items":       {},
		`for the column "stock"`: {Where: "true", Columns: []string{"id"}},
	} {
		s := shelf(nil)
		db := s.DB()
		defer db.Close()
		rows.Table = "items"
		err := pessimistic.WithRowLocks(t.Context(), db, rows, func(context.Context, *sqlx.Tx, []*item) error { return nil }, asPostgres)
		require.ErrorContains(t, err, want)
		require.Empty(t, s.Log())

		tx, err := db.Begin()
		require.NoError(t, err)
		_, err = pessimistic.LockRows[item](t.Context(), tx, rows, asPostgres)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "pessimistic: ")
		require.Equal(t, []string{"BEGIN"}, s.Log())
		require.NoError(t, tx.Rollback())
	}
}

// LockRows locks in the order of the keys, and returns the rows in the order in which they were asked for.
func TestLockRows(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	rows := pessimistic.Rows{Table: "items", Keys: []any{3, 1, int64(3)}}
	got, err := pessimistic.LockRows[item](t.Context(), tx, rows, asPostgres, pessimistic.NoWait())
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Same(t, got[0], got[2])
	require.NotSame(t, got[0], got[1])
	const lock = `SELECT "id", "stock", "id" FROM "items" WHERE "id" = $1 FOR UPDATE NOWAIT`
	require.Equal(t, []string{"BEGIN", lock + " [1]", lock + " [3]"}, statements(s))

}

// A row that is not there ends the call at once, as one that is held does; other rows stay locked until the caller's transaction
// ends.
func TestLockRowsThatAreNotThere(t *testing.T) {
	s := shelf([]int64{1, 2}, 2)
	db := s.DB()
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = pessimistic.LockRows[item](t.Context(), tx, pessimistic.Rows{Table: "items", Keys: []any{1}}, asPostgres)
	require.ErrorIs(t, err, sql.ErrNoRows)
	require.ErrorContains(t, err, "items at [1]")
	got, err := pessimistic.LockRows[item](t.Context(), tx, pessimistic.Rows{Table: "items", Where: "true"}, asPostgres)
	require.NoError(t, err)
	require.Equal(t, []int64{2}, idsOf(got))
	s = shelf(nil)
	other := s.DB()
	defer other.Close()
	tx, err = other.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	got, err = pessimistic.LockRows[item](t.Context(), tx, pessimistic.Rows{Table: "items", Where: "true"}, asPostgres)
	require.NoError(t, err)
	require.NotNil(t, got)
	require.Empty(t, got)
	_, err = pessimistic.LockRows[item](t.Context(), tx, pessimistic.Rows{Table: "items", Where: "true"}, pessimistic.MaxAttempts(2))
	require.ErrorContains(t, err, "MaxAttempts is not an option of LockRows")
}

// Where the driver has each statement prepared, LockRows prepares its SELECT once.
func TestLockRowsPrepareOnce(t *testing.T) {
	s := server(nil)
	s.Prepares = true
	db := s.DB()
	defer db.Close()
	for range 2 { // the first call finds out whether the driver prepares
		tx, err := db.Begin()
		require.NoError(t, err)
		before := len(s.Log())
		_, err = pessimistic.LockRows[item](t.Context(), tx, pessimistic.Rows{Table: "items", Keys: []any{1, 2, 3}},
			pessimistic.WithDialect(nogap.MySQL))
		require.NoError(t, err)
		prepared := 0
		for _, line := range s.Log()[before:] {
			if strings.HasPrefix(line, "PREPARE SELECT `id`") {
				prepared++
			}
		}
		require.Equal(t, 1, prepared)
		require.NoError(t, tx.Rollback())
	}
}

// What is locked in a callback, by a condition or by keys, is held around the calls that the callback makes, until its end.
func TestLockedRowsAreHeld(t *testing.T) {
	s := shelf([]int64{2, 3}, 1, 2, 3, 4)
	db := s.DB()
	defer db.Close()
	lock := func(ctx context.Context, id int) error {
		return pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "items", Key: id}, nothing, asPostgres)
	}
	var kept context.Context
	rows := pessimistic.Rows{Table: "items", Where: "stock > 0"}
	err := pessimistic.WithRowLocks(t.Context(), db, rows, func(ctx context.Context, tx *sqlx.Tx, items []*item) error {
		kept = ctx
		require.Len(t, items, 2)
		require.ErrorContains(t, lock(ctx, 2), "items at [2]: it is locked")
		require.ErrorContains(t, lock(ctx, 3), "wait for itself")
		require.NoError(t, lock(ctx, 1), "another row")
		err := pessimistic.WithRowLocks(ctx, db, rows, func(context.Context, *sqlx.Tx, []*item) error { return errBoom }, asPostgres)
		require.ErrorContains(t, err, "items at [2]: it is locked", "the inner call chooses a row of the outer one")
		_, err = pessimistic.LockRows[item](ctx, tx, pessimistic.Rows{Table: "items", Keys: []any{4, 2}})
		require.NoError(t, err, "it is the same transaction")
		require.ErrorContains(t, lock(ctx, 4), "wait for itself")
		return nil
	}, asPostgres)
	require.NoError(t, err)
	require.NoError(t, lock(kept, 2))
}
