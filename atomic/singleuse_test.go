package atomic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

// reset is a row of password_resets.
type reset struct {
	ID     string     `db:"id"`
	UserID int64      `db:"user_id"`
	UsedAt *time.Time `db:"used_at"`
}

func TestNewSingleUse(t *testing.T) {
	db := instant(t)
	type odd struct {
		UsedAt string `db:"used_at"`
	}
	type empty struct{}
	used := atomic.UsedAt("used_at")
	of := func(opts ...atomic.Option) error {
		_, err := atomic.NewSingleUse[reset](db, "resets", opts...)
		return err
	}
	_, scalar := atomic.NewSingleUse[int](db, "resets", used)
	_, oddField := atomic.NewSingleUse[odd](db, "resets", used)
	_, noFields := atomic.NewSingleUse[empty](db, "resets", used)
	_, counter := atomic.NewCounter[int64](db, "items", "stock", used)
	_, state := atomic.NewState[string](db, "items", "stock", atomic.DeleteUsed())
	_, set := atomic.NewSet(db, "items", []string{"stock"}, atomic.ExpiresAt("x"))
	for _, tt := range []struct {
		err  error
		want string
	}{
		{of(), "atomic: resets: NewSingleUse takes one of UsedAt and DeleteUsed"},
		{of(used, atomic.DeleteUsed()), "takes one of UsedAt and DeleteUsed"},
		{of(atomic.ExpiresAt("expires_at")), "takes one of UsedAt and DeleteUsed"},
		{of(used, used), "UsedAt is given twice"},
		{of(atomic.UsedAt("")), "atomic: UsedAt: column name \"\" is empty"},
		{of(used, atomic.ExpiresAt("a.b")), "ExpiresAt: column name"},
		{of(used, atomic.ExpiresAt("USED_AT")), `column "USED_AT" cannot be both UsedAt and ExpiresAt`},
		{of(atomic.UsedAt("id")), `column "id" cannot be both part of the key and UsedAt`},
		{of(used, atomic.VersionColumn("used_at")), `column "used_at" cannot be both UsedAt and the version`},
		{of(atomic.DeleteUsed(), atomic.VersionColumn("version")), "VersionColumn is not an option of NewSingleUse with DeleteUsed"},
		{of(used, atomic.Where("")), "Where"},
		{scalar, "int is not a struct"},
		{oddField, `the field for the column "used_at" of UsedAt: a string takes no time`},
		{noFields, ""},
		{counter, "UsedAt is not an option of a Counter or a State"},
		{state, "DeleteUsed is not an option of a Counter or a State"},
		{set, "ExpiresAt is not an option of NewSet"},
	} {
		if tt.want == "" {
			require.NoError(t, tt.err)
			continue
		}
		require.ErrorContains(t, tt.err, tt.want)
	}
}

// singleUse returns what the server says and what has been asked of it.
func singleUse(t *testing.T, d nogap.Dialect, answer fakedb.Handler, opts ...atomic.Option) (*atomic.SingleUse[reset], *fakedb.Server) {
	t.Helper()
	server := fakedb.Recorded(answer)
	db := server.DB()
	t.Cleanup(func() { db.Close() })
	s, err := atomic.NewSingleUse[reset](db, "resets", append(opts, atomic.WithDialect(d))...)
	require.NoError(t, err)
	return s, server
}

var (
	nothing = fakedb.Reply{Columns: []string{"one", "id", "user_id", "used_at"}}
	useTime = time.Date(2026, 11, 29, 5, 0, 0, 1000, time.UTC)
)

func TestUseInOneStatement(t *testing.T) {
	finding := int64(-1) // of a row that is there for the UPDATE
	s, server := singleUse(t, nogap.Postgres, func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Kind != fakedb.Query:
		case strings.HasPrefix(c.Query, "SELECT") && finding < 0:
			return fakedb.Reply{Columns: []string{"finding"}}, nil
		case strings.HasPrefix(c.Query, "SELECT"):
			return fakedb.Row(finding), nil
		case c.Arg(0) == "code":
			return fakedb.Row(int64(1), "code", int64(7), useTime), nil
		}
		return nothing, nil
	}, atomic.UsedAt("used_at"), atomic.ExpiresAt("expires_at"), atomic.Where("active"), atomic.VersionColumn("version"))

	row, err := s.Use(t.Context(), "code")
	require.NoError(t, err)
	require.Equal(t, reset{"code", 7, &useTime}, row)
	const fresh = `("expires_at" IS NULL OR EXTRACT(EPOCH FROM "expires_at") > EXTRACT(EPOCH FROM clock_timestamp()))`
	update := `UPDATE "resets" SET "used_at" = $2, "version" = COALESCE("version", 0) + 1 WHERE "id" = $1 AND "used_at" IS NULL AND ` +
		fresh + ` AND (active) RETURNING 1 / CASE WHEN "used_at" IS NOT NULL THEN 1 ELSE 0 END, "id", "user_id", "used_at"`
	require.Equal(t, []string{update}, server.Log())
	at := server.Calls()[len(server.Calls())-1].Arg(1).(time.Time)
	require.WithinDuration(t, time.Now(), at, time.Minute)
	require.Equal(t, at.Truncate(time.Microsecond), at)

	for want, column := range map[error]string{atomic.ErrUsed: "used_at", atomic.ErrExpired: "expires_at", atomic.ErrConditionFailed: ""} {
		finding = map[error]int64{atomic.ErrUsed: 4, atomic.ErrExpired: 5, atomic.ErrConditionFailed: 3}[want]
		row, err := s.Use(t.Context(), "other")
		require.ErrorIs(t, err, want)
		require.Zero(t, row)
		var refused *atomic.RefusedError
		require.ErrorAs(t, err, &refused)
		require.Equal(t, &atomic.RefusedError{Err: want, Table: "resets", Column: column, Key: atomic.Key{"other"}}, refused)
	}
	log := server.Log()
	require.Equal(t, `SELECT CASE WHEN "used_at" IS NULL THEN CASE WHEN `+fresh+
		` THEN CASE WHEN (active) THEN 1 ELSE 3 END ELSE 5 END ELSE 4 END FROM "resets" WHERE "id" = $1`, log[len(log)-1])

	finding = -1
	_, err = s.Use(t.Context(), "none")
	require.ErrorIs(t, err, sql.ErrNoRows)
	require.EqualError(t, err, "atomic: resets at [none]: sql: no rows in result set")
	finding = 1
	_, err = s.Use(t.Context(), "held back")
	require.ErrorContains(t, err, "nothing changed though there is nothing against it")
	_, err = s.Use(t.Context())
	require.ErrorContains(t, err, "a key of resets has one value for each of (id), got 0")
}

func TestUseTexts(t *testing.T) {
	require.EqualError(t, &atomic.RefusedError{Err: atomic.ErrUsed, Table: "resets", Column: "used_at", Key: atomic.Key{"x"}},
		"atomic: resets.used_at at [x]: used already")
	require.EqualError(t, &atomic.RefusedError{Err: atomic.ErrConditionFailed, Table: "resets", Key: atomic.Key{"x"}},
		"atomic: resets at [x]: condition failed")
}

func TestUseThatDeletes(t *testing.T) {
	s, server := singleUse(t, nogap.SQLite, func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		return fakedb.Row(int64(1), "code", int64(7), nil), nil
	}, atomic.DeleteUsed())
	row, err := s.Use(t.Context(), "code")
	require.NoError(t, err)
	require.Equal(t, reset{ID: "code", UserID: 7}, row)
	require.Equal(t, []string{
		"BEGIN IMMEDIATE", "DELETE FROM `resets` WHERE `id` = ?1 RETURNING 1, `id`, `user_id`, `used_at`", "COMMIT",
	}, server.Log())
}

// A lost answer leaves the outcome unknown, and nothing is sent again. So does a row that T can't hold.
func TestUseUnknown(t *testing.T) {
	for name, answer := range map[string]fakedb.Handler{
		"lost": func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if c.Kind == fakedb.Query && strings.HasPrefix(c.Query, "UPDATE") {
				return fakedb.Reply{}, io.ErrUnexpectedEOF
			}
			return fakedb.Row(int64(1)), nil
		},
		"NULL": func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			return fakedb.Row(int64(1), "code", nil, useTime), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, server := singleUse(t, nogap.Postgres, answer, atomic.UsedAt("used_at"))
			row, err := s.Use(t.Context(), "code")
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.Zero(t, row)
			updates := 0
			for _, line := range server.Log() {
				updates += strings.Count(line, "UPDATE")
			}
			require.Equal(t, 1, updates)
		})
	}
}

// mysqlResets answers as MySQL with one row, of which the driver hands out expiry as it is.
type mysqlResets struct {
	finding int64
	expiry  driver.Value
	clock   time.Time
	commit  error
}

func (m *mysqlResets) handle(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
	switch {
	case c.Kind == fakedb.Commit:
		return fakedb.Reply{}, m.commit
	case c.Kind == fakedb.Query:
		return fakedb.Row(m.finding, m.expiry, m.clock.UnixMicro(), "code", int64(7)), nil
	}
	return fakedb.Reply{RowsAffected: 1}, nil
}

func TestUseInATransaction(t *testing.T) {
	m := &mysqlResets{finding: 1, clock: useTime}
	s, server := singleUse(t, nogap.MySQL, m.handle, atomic.UsedAt("used_at"), atomic.ExpiresAt("expires_at"))
	const read = "SELECT CASE WHEN `used_at` IS NULL THEN 1 ELSE 4 END, `expires_at`, " +
		"TIMESTAMPDIFF(MICROSECOND, '1970-01-01 00:00:00', UTC_TIMESTAMP(6)), `id`, `user_id` FROM `resets` WHERE `id` = ? FOR UPDATE"
	const write = "UPDATE `resets` SET `used_at` = ? WHERE `id` = ? AND `used_at` IS NULL"
	east := time.FixedZone("", 7200)
	for name, tt := range map[string]struct {
		finding int64
		expiry  driver.Value
		want    error
		text    string
	}{
		"never ends":            {1, nil, nil, ""},
		"a moment left":         {1, useTime.Add(time.Microsecond).In(east), nil, ""},
		"this moment":           {1, useTime.In(east), atomic.ErrExpired, ""},
		"over":                  {1, useTime.Add(-time.Hour), atomic.ErrExpired, ""},
		"used and over":         {4, useTime.Add(-time.Hour), atomic.ErrUsed, ""},
		"refused and over":      {3, useTime.Add(-time.Hour), atomic.ErrExpired, ""},
		"refused":               {3, useTime.Add(time.Hour), atomic.ErrConditionFailed, ""},
		"text, from the driver": {1, []byte("2026-11-29 08:00:00"), nil, "parseTime=true"},
		"a number":              {1, int64(1), nil, "no time"},
	} {
		t.Run(name, func(t *testing.T) {
			m.finding, m.expiry = tt.finding, tt.expiry
			sent := len(server.Log())
			row, err := s.Use(t.Context(), "code")
			log := server.Log()[sent:]
			if tt.want == nil && tt.text == "" {
				require.NoError(t, err)
				require.Equal(t, reset{"code", 7, &useTime}, row)
				require.Equal(t, []string{"BEGIN", read, write, "COMMIT"}, log)
				return
			}
			require.Zero(t, row)
			require.ErrorContains(t, err, tt.text)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			}
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.Equal(t, []string{"BEGIN", read, "ROLLBACK"}, log)
		})
	}
	m.finding, m.expiry, m.commit = 1, nil, io.ErrUnexpectedEOF
	row, err := s.Use(t.Context(), "code")
	require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
	require.Zero(t, row)
}

// What a trigger has undone is not handed out.
func TestUseThatIsUndone(t *testing.T) {
	server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case strings.HasPrefix(c.Query, "SELECT CASE WHEN `used_at` IS NULL THEN 0"):
			return fakedb.Row(int64(0)), nil
		case c.Kind == fakedb.Query && strings.Contains(c.Query, "TIMESTAMPDIFF"):
			return fakedb.Row(int64(1), useTime.UnixMicro(), "code", int64(7)), nil
		case c.Kind == fakedb.Query:
			return fakedb.Row(int64(1), int64(1)), nil
		}
		return fakedb.Reply{RowsAffected: 1}, nil
	})
	server.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		r := fakedb.Looked(c, "")
		if row := r.Rows[0]; len(row) > 7 {
			row[7] = int64(1)
		}
		return r, nil
	}
	db := server.DB()
	defer db.Close()
	s, err := atomic.NewSingleUse[reset](db, "resets", atomic.WithDialect(nogap.MySQL), atomic.UsedAt("used_at"))
	require.NoError(t, err)
	row, err := s.Use(t.Context(), "code")
	require.ErrorContains(t, err, "the column would not hold what was written")
	require.Zero(t, row)
	require.Equal(t, "ROLLBACK", server.Log()[len(server.Log())-1])
}

// SQLite's drivers hand out what is stored: a time, a text, a number.
func TestUseOfTypelessTimes(t *testing.T) {
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	for name, stored := range map[string]func(time.Time) driver.Value{
		"time":         func(at time.Time) driver.Value { return at },
		"String":       func(at time.Time) driver.Value { return at.String() },
		"String, zone": func(at time.Time) driver.Value { return at.In(time.FixedZone("CEST", 7200)).String() },
		"String, none": func(at time.Time) driver.Value { return at.In(time.FixedZone("", 7200)).String() },
		"RFC 3339":     func(at time.Time) driver.Value { return at.In(time.FixedZone("", -3600)).Format(time.RFC3339Nano) },
		"bytes":        func(at time.Time) driver.Value { return []byte(at.UTC().Format(time.RFC3339)) },
		"mattn":        func(at time.Time) driver.Value { return at.Format("2006-01-02 15:04:05.999999999-07:00") },
		"UTC":          func(at time.Time) driver.Value { return at.UTC().Format(time.DateTime) },
		"digits":       func(at time.Time) driver.Value { return strconv.FormatInt(at.UnixMilli(), 10) },
		"seconds":      func(at time.Time) driver.Value { return at.Unix() },
		"milliseconds": func(at time.Time) driver.Value { return at.UnixMilli() },
		"microseconds": func(at time.Time) driver.Value { return at.UnixMicro() },
		"nanoseconds":  func(at time.Time) driver.Value { return at.UnixNano() },
	} {
		t.Run(name, func(t *testing.T) {
			for _, expiry := range []time.Time{past, future} {
				s, server := singleUse(t, nogap.SQLite, func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
					if c.Kind == fakedb.Query {
						return fakedb.Row(int64(1), stored(expiry), "code", int64(7), nil), nil
					}
					return fakedb.Reply{RowsAffected: 1}, nil
				}, atomic.DeleteUsed(), atomic.ExpiresAt("expires_at"))
				_, err := s.Use(t.Context(), "code")
				if expiry == future {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, atomic.ErrExpired)
				}
				require.Equal(t, "DELETE FROM `resets` WHERE 0", server.Log()[1], "the write lock comes first")
			}
		})
	}
	for _, odd := range []driver.Value{"", "soon", "2026-13-40", 1.5, true} {
		s, server := singleUse(t, nogap.SQLite, func(context.Context, fakedb.Call) (fakedb.Reply, error) {
			return fakedb.Row(int64(1), odd, "code", int64(7), nil), nil
		}, atomic.DeleteUsed(), atomic.ExpiresAt("expires_at"))
		_, err := s.Use(t.Context(), "code")
		require.ErrorContains(t, err, "the expiry is no time", odd)
		require.Equal(t, "ROLLBACK", server.Log()[len(server.Log())-1])
	}
}

func TestUseIsObserved(t *testing.T) {
	finding := int64(1)
	server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.HasPrefix(c.Query, "SELECT") {
			return fakedb.Row(finding), nil
		}
		if finding == 1 {
			return fakedb.Row(int64(1), "code", int64(7), nil), nil
		}
		return nothing, nil
	})
	db := server.DB()
	defer db.Close()
	var seen []string
	defer nogap.Observe(db, observer(func(op nogap.Operation, r nogap.Result) {
		seen = append(seen, op.Name+" "+op.Table+" "+string(r.Outcome))
	}))()
	s, err := atomic.NewSingleUse[reset](db, "resets", atomic.WithDialect(nogap.Postgres), atomic.UsedAt("used_at"))
	require.NoError(t, err)
	_, err = s.Use(t.Context(), "code")
	require.NoError(t, err)
	finding = 4
	_, err = s.Use(t.Context(), "code")
	require.True(t, errors.Is(err, atomic.ErrUsed))
	require.Equal(t, []string{"atomic.Use resets ok", "atomic.Use resets refused"}, seen)
}

type observer func(nogap.Operation, nogap.Result)

func (o observer) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	return ctx, func(r nogap.Result) { o(op, r) }
}

// On a connection that is in no transaction a use could not be rolled back, so nothing is sent.
func TestUseNeedsATransaction(t *testing.T) {
	s, server := singleUse(t, nogap.Postgres, func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.HasPrefix(c.Query, "SAVEPOINT") {
			return fakedb.Reply{}, sqlState("25P01")
		}
		return fakedb.Row(int64(1), "code", int64(7), useTime), nil
	}, atomic.UsedAt("used_at"))
	conn, err := server.DB().Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	row, err := s.WithTx(conn).Use(t.Context(), "code")
	require.ErrorContains(t, err, "*sql.Conn is in no transaction")
	require.Zero(t, row)
	require.NotContains(t, strings.Join(server.Log(), "\n"), "UPDATE")
}
