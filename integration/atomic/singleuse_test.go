//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// reset has no field for expires_at and note.
type reset struct {
	Code    string     `db:"code"`
	UserID  int64      `db:"user_id"`
	UsedAt  *time.Time `db:"used_at"`
	Version int64      `db:"version"`
}

// resets makes the table of resets with a type of its times.
func resets(tb testing.TB, db *sql.DB, timeType string) {
	tb.Helper()
	exec(tb, db, "CREATE TABLE resets (code VARCHAR(20) PRIMARY KEY, user_id BIGINT NOT NULL, used_at "+timeType+" NULL, expires_at "+timeType+
		" NULL, active INT NOT NULL DEFAULT 1, note VARCHAR(20) DEFAULT 'kept', version BIGINT NOT NULL DEFAULT 0)")
}

// timeTypes are those that hold an instant on a target.
func timeTypes(target matrix.Target) []string {
	switch {
	case mysqlLike(target):
		return []string{"DATETIME(6)", "TIMESTAMP(6)", "DATETIME"}
	case target.Dialect == nogap.SQLite:
		return []string{"TIMESTAMP", "DATETIME", "TEXT", "INTEGER"}
	}
	return []string{"TIMESTAMPTZ", "TIMESTAMP"}
}

// addReset inserts a code that expires then; the zero time is NULL. The driver writes the time.
func addReset(tb testing.TB, db *sql.DB, target matrix.Target, code string, expires time.Time) {
	tb.Helper()
	insert := "INSERT INTO resets (code, user_id, expires_at) VALUES (?, 7, ?)"
	if target.Dialect == nogap.Postgres {
		insert = "INSERT INTO resets (code, user_id, expires_at) VALUES ($1, 7, $2)"
	}
	var at any
	if !expires.IsZero() {
		at = expires.UTC().Truncate(time.Second)
	}
	exec(tb, db, insert, code, at)
}

func newResets(tb testing.TB, db *sql.DB, opts ...atomic.Option) *atomic.SingleUse[reset] {
	tb.Helper()
	s, err := atomic.NewSingleUse[reset](db, "resets", append(opts, atomic.WithKey("code"))...)
	require.NoError(tb, err)
	return s
}

var (
	usedAt    = atomic.UsedAt("used_at")
	expiresAt = atomic.ExpiresAt("expires_at")
)

func TestSingleUse(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		for _, timeType := range timeTypes(target) {
			t.Run(timeType, func(t *testing.T) {
				db := target.Open(t)
				resets(t, db, timeType)
				testSingleUse(t, target, db, timeType != "TEXT" && timeType != "INTEGER")
			})
		}
	})
}

// testSingleUse uses rows in all ways. scansTimes says that a *time.Time can be read from the columns.
func testSingleUse(t *testing.T, target matrix.Target, db *sql.DB, scansTimes bool) {
	ctx := t.Context()
	now := time.Now()
	for code, expires := range map[string]time.Time{
		"good": now.Add(time.Hour), "good in tx": now.Add(time.Hour), "over": now.Add(-time.Hour), "always": {}, "off": now.Add(time.Hour),
		"rolled back": now.Add(time.Hour),
	} {
		addReset(t, db, target, code, expires)
	}
	exec(t, db, "UPDATE resets SET active = 0 WHERE code = 'off'")
	type bare struct {
		Code   string `db:"code"`
		UserID int64  `db:"user_id"`
	}
	opts := []atomic.Option{usedAt, expiresAt, atomic.WithKey("code"), atomic.Where("active = 1"), atomic.VersionColumn("version")}
	use := func(tx nogap.Tx, code string) (row reset, err error) {
		if !scansTimes {
			s, err := atomic.NewSingleUse[bare](db, "resets", opts...)
			require.NoError(t, err)
			if tx != nil {
				s = s.WithTx(tx)
			}
			b, err := s.Use(ctx, code)
			return reset{Code: b.Code, UserID: b.UserID}, err
		}
		s := newResets(t, db, usedAt, expiresAt, atomic.Where("active = 1"), atomic.VersionColumn("version"))
		if tx != nil {
			s = s.WithTx(tx)
		}
		return s.Use(ctx, code)
	}
	inTx := func(code string, end func(*sql.Tx) error) (row reset, err error) {
		tx, err := db.BeginTx(ctx, nil)
		require.NoError(t, err)
		defer tx.Rollback()
		row, err = use(tx, code)
		require.NoError(t, end(tx))
		return row, err
	}
	check := func(row reset, err error, code string) {
		require.NoError(t, err)
		require.Equal(t, code, row.Code)
		require.EqualValues(t, 7, row.UserID)
		if scansTimes {
			require.EqualValues(t, 1, row.Version)
			require.WithinDuration(t, time.Now(), *row.UsedAt, time.Minute)
		}
		require.EqualValues(t, 1, value[int64](t, db, "SELECT version FROM resets WHERE code = '"+code+"'"))
		require.Equal(t, "kept", value[string](t, db, "SELECT note FROM resets WHERE code = '"+code+"'"))
	}
	row, err := inTx("good in tx", (*sql.Tx).Commit)
	check(row, err, "good in tx")
	_, err = inTx("rolled back", (*sql.Tx).Rollback)
	require.NoError(t, err)
	for _, code := range []string{"good", "always", "rolled back"} {
		row, err := use(nil, code)
		check(row, err, code)
	}
	for code, want := range map[string]error{
		"good": atomic.ErrUsed, "good in tx": atomic.ErrUsed, "over": atomic.ErrExpired, "off": atomic.ErrConditionFailed, "none": sql.ErrNoRows,
	} {
		row, err := use(nil, code)
		require.ErrorIs(t, err, want, code)
		require.Zero(t, row)
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		row, err = inTx(code, (*sql.Tx).Commit)
		require.ErrorIs(t, err, want, code)
		require.Zero(t, row)
	}
	require.Equal(t, 2, value[int](t, db, "SELECT count(*) FROM resets WHERE used_at IS NULL AND version = 0"), "a refusal writes nothing")
}

func TestSingleUseThatDeletes(t *testing.T) {
	matrix.Run(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		for _, opts := range [][]atomic.Option{{}, {expiresAt}} {
			t.Run(fmt.Sprint(len(opts)), func(t *testing.T) {
				db := target.Open(t)
				resets(t, db, timeTypes(target)[0])
				addReset(t, db, target, "good", time.Now().Add(time.Hour))
				addReset(t, db, target, "over", time.Now().Add(-time.Hour))
				s := newResets(t, db, append(opts, atomic.DeleteUsed())...)
				row, err := s.Use(t.Context(), "good")
				require.NoError(t, err)
				require.Equal(t, reset{Code: "good", UserID: 7}, row)
				_, err = s.Use(t.Context(), "good")
				require.ErrorIs(t, err, sql.ErrNoRows)
				_, err = s.Use(t.Context(), "over")
				if len(opts) == 0 {
					require.NoError(t, err)
					return
				}
				require.ErrorIs(t, err, atomic.ErrExpired)
				require.Equal(t, 1, value[int](t, db, "SELECT count(*) FROM resets"))
			})
		}
	})
}

// TestSingleUseOneWinner: of 50 callers one gets the row, whichever way it is used up.
func TestSingleUseOneWinner(t *testing.T) {
	matrix.Parallel(t, matrix.Conformance(), func(t *testing.T, target matrix.Target) {
		for name, opts := range map[string][]atomic.Option{
			"used": {usedAt}, "used in time": {usedAt, expiresAt}, "deleted": {atomic.DeleteUsed()}, "deleted in time": {atomic.DeleteUsed(), expiresAt},
		} {
			t.Run(name, func(t *testing.T) {
				db := target.Open(t)
				resets(t, db, timeTypes(target)[0])
				s := newResets(t, db, opts...)
				for _, code := range []string{"a", "b"} {
					addReset(t, db, target, code, time.Now().Add(time.Hour))
					oneWinner(t, func(i int) error {
						row, err := s.Use(context.Background(), code)
						if err == nil && row.Code != code || err != nil && row != (reset{}) {
							return fmt.Errorf("got %v with %w", row, err)
						}
						return err
					})
				}
			})
		}
	})
}

// oneWinner has 50 callers of which one must win, and the others be told that it was used.
func oneWinner(t *testing.T, use func(i int) error) {
	t.Helper()
	var mu sync.Mutex
	won, lost := 0, 0
	together(50, func(i int) {
		err := use(i)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
			won++
		case errors.Is(err, atomic.ErrUsed), errors.Is(err, sql.ErrNoRows):
			lost++
		default:
			t.Error(err)
		}
	})
	require.Equal(t, 1, won)
	require.Equal(t, 49, lost)
}

// TestSingleUseOfTwoProcesses: so it is with pools of their own, in transactions and not.
func TestSingleUseOfTwoProcesses(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		pools := []*sql.DB{target.Connect(t, dsn), target.Connect(t, dsn)}
		resets(t, pools[0], timeTypes(target)[0])
		addReset(t, pools[0], target, "a", time.Now().Add(time.Hour))
		var uses []*atomic.SingleUse[reset]
		for _, db := range pools {
			uses = append(uses, newResets(t, db, usedAt, expiresAt))
		}
		oneWinner(t, func(i int) error {
			db, s := pools[i%2], uses[i%2]
			if i%4 < 2 {
				_, err := s.Use(context.Background(), "a")
				return err
			}
			for { // as the owner of a transaction does
				tx, err := db.Begin()
				if err != nil {
					return err
				}
				_, err = s.WithTx(tx).Use(context.Background(), "a")
				if err == nil {
					err = tx.Commit()
				} else {
					tx.Rollback()
				}
				if !nogap.Retryable(err) {
					return err
				}
			}
		})
	})
}

// zoned are ways to reach a database in which the session has one time zone and the driver another.
func zoned(tb testing.TB, target matrix.Target) map[string]string {
	tb.Helper()
	dsn := target.DSN(tb)
	dsns := map[string]string{"as it is": dsn}
	switch target.Driver {
	case "mysql":
		for name, loc := range map[string]string{"loc UTC": "UTC", "loc east": "Asia/Tokyo"} {
			config, err := mysql.ParseDSN(dsn)
			require.NoError(tb, err)
			config.Loc, err = time.LoadLocation(loc)
			require.NoError(tb, err)
			if config.Params == nil {
				config.Params = map[string]string{}
			}
			config.Params["time_zone"] = "'+02:00'"
			dsns[name] = config.FormatDSN()
		}
	case "pgx", "postgres":
		u, err := url.Parse(dsn)
		require.NoError(tb, err)
		q := u.Query()
		q.Set("timezone", "Asia/Tokyo")
		u.RawQuery = q.Encode()
		dsns["session east"] = u.String()
	case "sqlite":
		dsns["text"] = dsn + "&_time_format=sqlite"
		dsns["integers"] = dsn + "&_time_integer_format=unix_milli&_inttotime=1"
	case "sqlite3":
		dsns["loc east"] = dsn + "&_loc=Asia/Tokyo"
	}
	return dsns
}

// TestSingleUseTimeZones: whichever time zones the session and the driver have, a code with half an hour left is good, and
// one that is half an hour over is not.
func TestSingleUseTimeZones(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for _, timeType := range timeTypes(target) {
			for name, dsn := range zoned(t, target) {
				t.Run(timeType+" "+name, func(t *testing.T) {
					db := target.Connect(t, dsn)
					resets(t, db, timeType)
					addReset(t, db, target, "good", time.Now().Add(30*time.Minute))
					addReset(t, db, target, "over", time.Now().Add(-30*time.Minute))
					type bare struct {
						Code string `db:"code"`
					}
					s, err := atomic.NewSingleUse[bare](db, "resets", usedAt, expiresAt, atomic.WithKey("code"))
					require.NoError(t, err)
					_, err = s.Use(t.Context(), "over")
					require.ErrorIs(t, err, atomic.ErrExpired)
					row, err := s.Use(t.Context(), "good")
					require.NoError(t, err)
					require.Equal(t, "good", row.Code)
					if !strings.Contains("TEXT INTEGER", timeType) {
						at := value[time.Time](t, db, "SELECT used_at FROM resets WHERE code = 'good'")
						require.WithinDuration(t, time.Now(), at, time.Minute)
					}
					exec(t, db, "DROP TABLE resets")
				})
			}
		}
	})
}

// A trigger that clears the mark again would let the next caller win too.
func TestSingleUseThatIsUndone(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		resets(t, db, timeTypes(target)[0])
		addReset(t, db, target, "good", time.Time{})
		putBack(t, db, target.Dialect, "resets", "code", "used_at")
		for _, opts := range [][]atomic.Option{{usedAt}, {usedAt, expiresAt}} {
			row, err := newResets(t, db, opts...).Use(t.Context(), "good")
			require.ErrorContains(t, err, "a trigger")
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.Zero(t, row)
		}
	})
}

// Two rows with one key are an error. In a transaction nothing was written.
func TestSingleUseNotUnique(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		resets(t, db, timeTypes(target)[0])
		addReset(t, db, target, "a", time.Time{})
		addReset(t, db, target, "b", time.Time{})
		s, err := atomic.NewSingleUse[reset](db, "resets", usedAt, atomic.WithKey("user_id"))
		require.NoError(t, err)
		_, err = s.Use(t.Context(), 7)
		require.ErrorIs(t, err, nogap.ErrNotUnique)
		if mysqlLike(target) {
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.Equal(t, 2, value[int](t, db, "SELECT count(*) FROM resets WHERE used_at IS NULL"))
		} else {
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
		}
	})
}
