package pessimistic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/pessimistic"
)

type item struct {
	ID    int64 `db:"id"`
	Stock int64 `db:"stock"`
}

var (
	itemOne = pessimistic.Row{Table: "items", Key: 1}
	errBoom = errors.New("boom")
)

func nothing(context.Context, *sqlx.Tx, *item) error { return nil }

// server answers every SELECT of items with one row, and settings with "before".
func server(fail func(c fakedb.Call) error) *fakedb.Server {
	return fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if fail != nil {
			if err := fail(c); err != nil {
				return fakedb.Reply{}, err
			}
		}
		switch {
		case c.Kind != fakedb.Query:
		case strings.HasPrefix(c.Query, "DO"):
			return fakedb.Reply{}, nil
		case strings.HasPrefix(c.Query, "SHOW"):
			return fakedb.Reply{Columns: []string{"name", "value"}}, nil
		case strings.Contains(c.Query, "lock_timeout"):
			return fakedb.Row("before", "now"), nil
		case strings.Contains(c.Query, "items") && strings.Contains(strings.NewReplacer("`", "", `"`, "").Replace(c.Query), ", id FROM"):
			return fakedb.Row(int64(1), int64(100), c.Arg(0)), nil // with the key behind
		case strings.Contains(c.Query, "items"):
			return items(1), nil
		case strings.Contains(c.Query, "isolation"):
			return fakedb.Row("true", "read committed"), nil
		default:
			return fakedb.Row(int64(1)), nil
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
}

// items is an answer of n rows.
func items(n int64) fakedb.Reply {
	r := fakedb.Reply{Columns: []string{"id", "stock"}}
	for id := range n {
		r.Rows = append(r.Rows, []driver.Value{id + 1, int64(100)})
	}
	return r
}

// What is sent, to every dialect.
func TestStatements(t *testing.T) {
	rowLock := func(opts ...pessimistic.Option) func(context.Context, *sql.DB) error {
		return func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithRowLock(ctx, db, itemOne, nothing, opts...)
		}
	}
	named := func(opts ...pessimistic.Option) func(context.Context, *sql.DB) error {
		return func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithNamedLock(ctx, db, "a", func(context.Context, *sqlx.Tx) error { return nil }, opts...)
		}
	}
	claim := func(opts ...pessimistic.Option) func(context.Context, *sql.DB) error {
		return func(ctx context.Context, db *sql.DB) error {
			queue := pessimistic.Queue{Table: "shop.items", Where: "a OR b", OrderBy: "id DESC", Limit: 3}
			return pessimistic.Claim(ctx, db, queue, func(context.Context, *sqlx.Tx, []*item) error { return nil }, opts...)
		}
	}
	as := func(d nogap.Dialect) pessimistic.Option { return pessimistic.WithDialect(d) }
	const askGalera = "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'"
	const getLock = "SELECT GET_LOCK(CONCAT('nogap:', LEFT(SHA2(CONCAT(COALESCE(DATABASE(), ''), '/', ?), 256), 40)), "
	const releaseLock = "SELECT RELEASE_LOCK(CONCAT('nogap:', LEFT(SHA2(CONCAT(COALESCE(DATABASE(), ''), '/', ?), 256), 40)))"
	const isolation = "current_setting('transaction_isolation')"
	tests := []struct {
		name string
		run  func(context.Context, *sql.DB) error
		want []string
	}{
		{"postgres", rowLock(as(nogap.Postgres)), []string{"BEGIN", `SELECT "id", "stock" FROM "items" WHERE "id" = $1 FOR UPDATE`, "COMMIT"}},
		{"postgres NoWait", rowLock(as(nogap.Postgres), pessimistic.NoWait(), pessimistic.ForKeyShare()),
			[]string{"BEGIN", `SELECT "id", "stock" FROM "items" WHERE "id" = $1 FOR KEY SHARE NOWAIT`, "COMMIT"}},
		{"postgres Timeout", rowLock(as(nogap.Postgres), pessimistic.Timeout(time.Second)), []string{"BEGIN",
			"SELECT current_setting('lock_timeout'), set_config('lock_timeout', $1, true)",
			`SELECT "id", "stock" FROM "items" WHERE "id" = $1 FOR UPDATE`,
			"SELECT set_config('lock_timeout', $1, true)", "COMMIT"}},
		{"mysql", rowLock(as(nogap.MySQL), pessimistic.ForShare()),
			[]string{askGalera, "BEGIN", "SELECT `id`, `stock` FROM `items` WHERE `id` = ? FOR SHARE", "COMMIT"}},
		{"mysql Timeout", rowLock(as(nogap.MySQL), pessimistic.Timeout(1001*time.Millisecond)), []string{askGalera, "BEGIN",
			"SET @nogap_lock_wait_timeout = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 2",
			"SELECT `id`, `stock` FROM `items` WHERE `id` = ? FOR UPDATE",
			"SET SESSION innodb_lock_wait_timeout = @nogap_lock_wait_timeout", "COMMIT"}},
		{"mariadb", rowLock(as(nogap.MariaDB), pessimistic.ForShare()),
			[]string{askGalera, "BEGIN", "SELECT `id`, `stock` FROM `items` WHERE `id` = ? LOCK IN SHARE MODE", "COMMIT"}},
		{"sqlite", rowLock(as(nogap.SQLite)), []string{"PRAGMA busy_timeout", "PRAGMA busy_timeout = 1", "BEGIN",
			"DELETE FROM `items` WHERE 0", "SELECT `id`, `stock` FROM `items` WHERE `id` = ?1", "PRAGMA busy_timeout = 1", "COMMIT"}},

		{"postgres claim", claim(as(nogap.Postgres)), []string{"BEGIN",
			`SELECT "id", "stock" FROM "shop"."items" WHERE (a OR b` + "\n) ORDER BY id DESC\n LIMIT 3 FOR UPDATE SKIP LOCKED", "COMMIT"}},
		{"mariadb claim", claim(as(nogap.MariaDB)), []string{askGalera, "BEGIN Read Committed",
			"SELECT `id`, `stock` FROM `shop`.`items` WHERE (a OR b\n) ORDER BY id DESC\n LIMIT 3 FOR UPDATE SKIP LOCKED", "COMMIT"}},
		{"mariadb claim serializable", claim(as(nogap.MariaDB), pessimistic.Isolation(sql.LevelSerializable)), []string{
			askGalera, "BEGIN Serializable",
			"SELECT `id`, `stock` FROM `shop`.`items` WHERE (a OR b\n) ORDER BY id DESC\n LIMIT 3 FOR UPDATE SKIP LOCKED", "COMMIT"}},

		{"postgres named", named(as(nogap.Postgres)),
			[]string{"BEGIN", "SELECT pg_advisory_xact_lock($1)::text, " + isolation, "COMMIT"}},
		{"postgres named NoWait", named(as(nogap.Postgres), pessimistic.NoWait()),
			[]string{"BEGIN", "SELECT pg_try_advisory_xact_lock($1)::text, " + isolation, "COMMIT"}},
		{"mysql named", named(as(nogap.MySQL)), []string{askGalera, "BEGIN",
			getLock + "31536000)", "COMMIT", releaseLock}},
		{"mysql named NoWait", named(as(nogap.MySQL), pessimistic.NoWait()), []string{askGalera, "BEGIN",
			getLock + "0)", "COMMIT", releaseLock}},
		{"sqlite named", named(as(nogap.SQLite)), []string{"PRAGMA busy_timeout", "PRAGMA busy_timeout = 1", "BEGIN",
			"PRAGMA incremental_vacuum(1)", "PRAGMA busy_timeout = 1", "COMMIT"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := server(nil)
			db := s.DB()
			defer db.Close()
			synctest.Test(t, func(t *testing.T) { // no time passes
				require.NoError(t, tt.run(context.Background(), db))
			})
			var got []string
			for _, c := range s.Calls() {
				switch {
				case c.Kind == fakedb.Connect || c.Kind == fakedb.Close:
				case c.Tx.Isolation != 0:
					got = append(got, fmt.Sprint(c, " ", sql.IsolationLevel(c.Tx.Isolation)))
				default:
					got = append(got, c.String())
				}
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// A mistake in the call is an error that names it, and nothing is sent.
func TestBadCalls(t *testing.T) {
	row := func(r pessimistic.Row, opts ...pessimistic.Option) func(context.Context, *sql.DB) error {
		return func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithRowLock(ctx, db, r, nothing, opts...)
		}
	}
	opts := func(opts ...pessimistic.Option) func(context.Context, *sql.DB) error { return row(itemOne, opts...) }
	claim := func(q pessimistic.Queue, opts ...pessimistic.Option) func(context.Context, *sql.DB) error {
		return func(ctx context.Context, db *sql.DB) error {
			return pessimistic.Claim(ctx, db, q, func(context.Context, *sqlx.Tx, []*item) error { return nil }, opts...)
		}
	}
	named := func(name string, opts ...pessimistic.Option) func(context.Context, *sql.DB) error {
		return func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithNamedLock(ctx, db, name, func(context.Context, *sqlx.Tx) error { return nil }, opts...)
		}
	}
	jobs := pessimistic.Queue{Table: "jobs", Limit: 1}
	tests := []struct {
		run  func(context.Context, *sql.DB) error
		want string
	}{
		{row(pessimistic.Row{}), `table name "" is empty`},
		{row(pessimistic.Row{Table: "a;b", Key: 1}), `"a;b"`},
		{row(pessimistic.Row{Table: "items"}), "items.id is NULL"},
		{row(pessimistic.Row{Table: "items", Key: (*int)(nil)}), "items.id is NULL"},
		{row(pessimistic.Row{Table: "items", Key: []any{1, 2}}), "a key of items has one value for each of (id), got 2"},
		{row(pessimistic.Row{Table: "items", Key: 1, KeyColumns: []string{"a", "b"}}), "a key of items has one value for each of (a, b), got 1"},
		{row(pessimistic.Row{Table: "items", Key: 1, KeyColumns: []string{"a", "A"}}), "given twice"},
		{row(pessimistic.Row{Table: "items", Key: 1, Columns: []string{""}}), "column name"},
		{row(pessimistic.Row{Table: "items", Key: 1, Columns: []string{"id"}}), `has a field for the column "stock"`},
		{opts(nil), "option 0 is nil"},
		{opts(pessimistic.Timeout(0)), "Timeout(0s) is not positive"},
		{opts(pessimistic.Timeout(time.Second), pessimistic.NoWait()), "NoWait and Timeout"},
		{opts(pessimistic.NoWait(), pessimistic.NoWait()), "NoWait is given twice"},
		{opts(pessimistic.ForUpdate(), pessimistic.ForShare()), "ForUpdate and ForShare contradict each other"},
		{opts(pessimistic.MaxAttempts(0)), "MaxAttempts(0)"},
		{opts(pessimistic.Backoff(nil)), "Backoff(nil)"},
		{opts(pessimistic.Isolation(sql.LevelSnapshot)), "Isolation(Snapshot)"},
		{opts(pessimistic.WithDialect(9)), "WithDialect: unknown dialect Dialect(9)"},
		{opts(pessimistic.WithDialect(nogap.MariaDB), pessimistic.ForKeyShare()), "ForKeyShare: MariaDB has no FOR KEY SHARE"},
		{opts(pessimistic.WithDialect(nogap.SQLite), pessimistic.NoWait()), "NoWait: SQLite has no NOWAIT"},
		{claim(pessimistic.Queue{Table: "jobs"}), "Limit 0"},
		{claim(pessimistic.Queue{Table: "jobs", Limit: 1, Args: []any{1}}), "no Where"},
		{claim(jobs, pessimistic.NoWait()), "NoWait is not an option of Claim"},
		{claim(jobs, pessimistic.Timeout(1)), "Timeout is not an option of Claim"},
		{claim(jobs, pessimistic.ForShare()), "ForShare is not an option of Claim"},
		{named(""), "the name is empty"},
		{named("a", pessimistic.ForShare()), "ForShare is not an option of WithNamedLock"},
		{named("a", pessimistic.WithDialect(nogap.Postgres), pessimistic.Isolation(sql.LevelRepeatableRead)), "REPEATABLE READ"},
		{func(ctx context.Context, _ *sql.DB) error {
			return pessimistic.WithRowLock(ctx, nil, itemOne, nothing)
		}, "db is nil"},
		{func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithRowLock[item](ctx, db, itemOne, nil)
		}, "the callback is nil"},
		{func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithRowLocks(ctx, db, pessimistic.Rows{Table: "items"},
				func(context.Context, *sqlx.Tx, []*item) error { return nil })
		}, "no keys of items"},
		{func(ctx context.Context, _ *sql.DB) error {
			_, err := pessimistic.LockRow[item](ctx, nil, itemOne)
			return err
		}, "the transaction is nil"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			s := server(nil)
			db := s.DB()
			defer db.Close()
			err := tt.run(t.Context(), db)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "pessimistic: ")
			require.Empty(t, s.Log())
		})
	}
}

func TestLockRowRefusesOptionsOfTheTransaction(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	tx, err := sqlx.NewDb(db, "postgres").Beginx()
	require.NoError(t, err)
	defer tx.Rollback()
	for _, opt := range []pessimistic.Option{pessimistic.MaxAttempts(3), pessimistic.Isolation(sql.LevelSerializable),
		pessimistic.Backoff(func(int) time.Duration { return 0 })} {
		_, err := pessimistic.LockRow[item](t.Context(), tx, itemOne, opt)
		require.ErrorContains(t, err, "is not an option of LockRow")
	}
	require.Equal(t, []string{"BEGIN"}, s.Log())
}

// stateError looks like an error of a PostgreSQL driver.
type stateError string

func (e stateError) Error() string    { return "SQLSTATE " + string(e) }
func (e stateError) SQLState() string { return string(e) }

// The server's words for a lock that is not to be had, in the caller's.
func TestErrors(t *testing.T) {
	tests := []struct {
		name  string
		state stateError
		opts  []pessimistic.Option
		want  error
		calls int
	}{
		{"NoWait", "55P03", []pessimistic.Option{pessimistic.NoWait()}, pessimistic.ErrLocked, 1},
		{"Timeout", "55P03", []pessimistic.Option{pessimistic.Timeout(time.Hour)}, pessimistic.ErrLockTimeout, 1},
		{"the server's own timeout", "55P03", nil, pessimistic.ErrLockTimeout, 1},
		{"deadlock", "40P01", []pessimistic.Option{pessimistic.MaxAttempts(3)}, pessimistic.ErrRetriesExhausted, 3},
		{"once", "40001", []pessimistic.Option{pessimistic.MaxAttempts(1)}, pessimistic.ErrRetriesExhausted, 1},
		{"another error", "42P01", nil, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			s := server(func(c fakedb.Call) error {
				if strings.Contains(c.Query, "items") {
					calls++
					return tt.state
				}
				return nil
			})
			db := s.DB()
			defer db.Close()
			opts := append(tt.opts, pessimistic.WithDialect(nogap.Postgres))
			err := pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, opts...)
			require.ErrorIs(t, err, tt.state, "the server's error is kept")
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			}
			require.Equal(t, tt.calls, calls)
			require.Equal(t, 1, s.OpenConns())
		})
	}
}

// The waits between attempts are the policy's, and end with the context.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server(func(c fakedb.Call) error {
			if c.Kind == fakedb.Commit {
				return stateError("40001")
			}
			return nil
		})
		db := s.DB()
		defer db.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
		defer cancel()
		runs := 0
		start := time.Now()
		err := pessimistic.WithRowLock(ctx, db, itemOne, func(context.Context, *sqlx.Tx, *item) error { runs++; return nil },
			pessimistic.Backoff(func(failed int) time.Duration { return time.Duration(failed) * time.Minute }),
			pessimistic.WithDialect(nogap.Postgres))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, stateError("40001"))
		require.Equal(t, 4, runs, "after 0, 1, 3 and 6 minutes")
		require.Equal(t, 9*time.Minute, time.Since(start))
	})
}

// A session that could not be put in order is closed, and not handed to the next one.
func TestConnectionThatCannotBeRestoredIsClosed(t *testing.T) {
	tests := map[string]func(context.Context, *sql.DB) error{
		"SET SESSION": func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithRowLock(ctx, db, itemOne, nothing, pessimistic.WithDialect(nogap.MySQL), pessimistic.Timeout(time.Second))
		},
		"RELEASE_LOCK": func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithNamedLock(ctx, db, "a", func(context.Context, *sqlx.Tx) error { return nil },
				pessimistic.WithDialect(nogap.MySQL))
		},
	}
	for text, run := range tests {
		t.Run(text, func(t *testing.T) {
			s := server(func(c fakedb.Call) error {
				if strings.Contains(c.Query, text) && !strings.Contains(c.Query, "@@") {
					return errBoom
				}
				return nil
			})
			db := s.DB()
			defer db.Close()
			err := run(t.Context(), db)
			if text == "RELEASE_LOCK" {
				require.NoError(t, err, "the transaction is committed")
			} else {
				require.ErrorIs(t, err, errBoom)
			}
			require.Zero(t, s.OpenConns())
		})
	}
}
