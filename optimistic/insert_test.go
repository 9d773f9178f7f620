package optimistic_test

import (
	"context"
	"database/sql/driver"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

// inserting is a table whose key the server makes, or not.
type inserting struct {
	makes  bool
	reply  fakedb.Reply // to INSERT
	err    error
	stored driver.Value // the version that is read back
}

func (in *inserting) handle(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
	switch {
	case c.Query == "SELECT version()":
		return fakedb.Row("PostgreSQL 15.4"), nil
	case strings.Contains(c.Query, "pg_attribute"), strings.Contains(c.Query, "information_schema.COLUMNS"):
		return fakedb.Row(map[bool]int64{true: 1}[in.makes]), nil
	case strings.HasPrefix(c.Query, "INSERT"):
		return in.reply, in.err
	case strings.HasPrefix(c.Query, "SELECT \"version\""):
		return fakedb.Row(in.stored), nil
	}
	return fakedb.Row(int64(1)), nil
}

func inserts[T any](t *testing.T, in *inserting, opts ...optimistic.Option) (*optimistic.Table[T], *fakedb.Server) {
	t.Helper()
	server := fakedb.Recorded(in.handle)
	server.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		return fakedb.Looked(c, "timestamp with time zone"), nil
	}
	db := server.DB()
	t.Cleanup(func() { db.Close() })
	items, err := optimistic.NewTable[T](db, "items", opts...)
	require.NoError(t, err)
	return items, server
}

func lastInsert(s *fakedb.Server) (statement string, args []driver.Value) {
	for _, c := range s.Calls() {
		if strings.HasPrefix(c.Query, "INSERT") {
			statement, args = c.Query, nil
			for i := range c.Args {
				args = append(args, c.Arg(i))
			}
		}
	}
	return statement, args
}

func TestInsertStatements(t *testing.T) {
	in := &inserting{makes: true, reply: fakedb.Row(int64(1), int64(17))}
	items, server := inserts[Item](t, in)
	item := &Item{Stock: 5}
	require.NoError(t, items.Insert(t.Context(), item))
	require.Equal(t, &Item{ID: 17, Stock: 5}, item)
	text, args := lastInsert(server)
	require.Equal(t, `INSERT INTO "items" ("stock", "version") VALUES ($1, $2) RETURNING 1, "id"`, text)
	require.Equal(t, []driver.Value{int64(5), int64(0)}, args)

	in.reply = fakedb.Row(int64(1))
	require.NoError(t, items.Insert(t.Context(), &Item{ID: 3, Stock: 5, Version: 8}))
	text, args = lastInsert(server)
	require.Equal(t, `INSERT INTO "items" ("id", "stock", "version") VALUES ($1, $2, $3) RETURNING 1`, text)
	require.Equal(t, []driver.Value{int64(3), int64(5), int64(8)}, args, "a key that is given is written")

	in.makes = false
	items, server = inserts[Item](t, in)
	item = &Item{}
	require.NoError(t, items.Insert(t.Context(), item))
	require.Zero(t, *item, "nobody makes the key, so it is zero")
	_, args = lastInsert(server)
	require.Equal(t, []driver.Value{int64(0), int64(0), int64(0)}, args)

	items, server = inserts[Item](t, in, optimistic.ReadOnly("stock"))
	require.NoError(t, items.Insert(t.Context(), &Item{ID: 3, Stock: 5}))
	text, _ = lastInsert(server)
	require.Equal(t, `INSERT INTO "items" ("id", "version") VALUES ($1, $2) RETURNING 1`, text, "a column of ReadOnly gets its default")
}

func TestInsertOnMySQL(t *testing.T) {
	in := &inserting{makes: true, reply: fakedb.Reply{RowsAffected: 1, LastInsertID: 17}}
	items, server := inserts[Item](t, in, optimistic.WithDialect(nogap.MySQL))
	item := &Item{Stock: 5}
	require.NoError(t, items.Insert(t.Context(), item))
	require.Equal(t, &Item{ID: 17, Stock: 5}, item)
	text, _ := lastInsert(server)
	require.Equal(t, "INSERT INTO `items` (`stock`, `version`) VALUES (?, ?)", text)

	type tiny struct {
		ID      int8  `db:"id"`
		Version int64 `db:"version"`
	}
	in.reply.LastInsertID = 300
	tinies, _ := inserts[tiny](t, in, optimistic.WithDialect(nogap.MySQL))
	row := &tiny{}
	err := tinies.Insert(t.Context(), row)
	require.ErrorIs(t, err, nogap.ErrOutcomeUnknown, "it stands")
	require.ErrorContains(t, err, "the key 300 does not fit a int8")
	require.Zero(t, *row)
}

func TestInsertVersions(t *testing.T) {
	type timed struct {
		ID      int64     `db:"id"`
		Version time.Time `db:"version"`
	}
	stored := time.Date(2026, 11, 29, 5, 0, 0, 0, time.UTC)
	times, server := inserts[timed](t, &inserting{reply: fakedb.Row(int64(1), stored)})
	row := &timed{ID: 3}
	require.NoError(t, times.Insert(t.Context(), row))
	require.Equal(t, stored, row.Version, "what is stored")
	_, args := lastInsert(server)
	require.WithinDuration(t, time.Now(), args[1].(time.Time), time.Minute)

	type token struct {
		ID      int64  `db:"id"`
		Version string `db:"version"`
	}
	tokens, server := inserts[token](t, &inserting{reply: fakedb.Row(int64(1))})
	withToken := &token{ID: 3, Version: "somebody's"}
	require.NoError(t, tokens.Insert(t.Context(), withToken))
	_, args = lastInsert(server)
	require.Equal(t, args[1], withToken.Version)
	require.Len(t, withToken.Version, 36)

	type system struct {
		ID    int64  `db:"id"`
		Stock int64  `db:"stock"`
		Xmin  uint32 `db:"xmin"`
	}
	xmins, server := inserts[system](t, &inserting{reply: fakedb.Row(int64(1), int64(777))}, optimistic.VersionColumn("xmin"))
	withXmin := &system{ID: 3}
	require.NoError(t, xmins.Insert(t.Context(), withXmin))
	require.Equal(t, &system{ID: 3, Xmin: 777}, withXmin)
	text, _ := lastInsert(server)
	require.Equal(t, `INSERT INTO "items" ("id", "stock") VALUES ($1, $2) RETURNING 1, xmin::text::bigint`, text)
}

func TestInsertFails(t *testing.T) {
	for name, tt := range map[string]struct {
		in   inserting
		want error
		text string
	}{
		"duplicate": {inserting{err: serverError("23505")}, optimistic.ErrDuplicate, "optimistic: items at [3]: duplicate row: SQLSTATE 23505"},
		"check":     {inserting{err: serverError("23514")}, serverError("23514"), "items at [3]"},
		"lost":      {inserting{err: io.ErrUnexpectedEOF}, nogap.ErrOutcomeUnknown, ""},
		"dropped":   {inserting{reply: fakedb.Reply{Columns: []string{"one"}}}, nil, "prevented the INSERT"},
	} {
		t.Run(name, func(t *testing.T) {
			items, server := inserts[Item](t, &tt.in)
			item := &Item{ID: 3, Stock: 5}
			err := items.Insert(t.Context(), item)
			require.Error(t, err)
			if tt.want != nil {
				require.ErrorIs(t, err, tt.want)
			}
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, &Item{ID: 3, Stock: 5}, item)
			sent := 0
			for _, line := range server.Log() {
				sent += strings.Count(line, "INSERT")
			}
			require.Equal(t, 1, sent, "once")
		})
	}
	items, server := inserts[Item](t, &inserting{})
	require.ErrorContains(t, items.Insert(t.Context(), nil), "the item is nil")
	type pointed struct {
		ID      *int64 `db:"id"`
		Version int64  `db:"version"`
	}
	rows, _ := inserts[pointed](t, &inserting{})
	require.ErrorContains(t, rows.Insert(t.Context(), &pointed{}), "items.id is NULL")
	require.Empty(t, server.Log())
}

// A token that is read back shows that the row was inserted, although the reply was lost.
func TestInsertConfirmed(t *testing.T) {
	type token struct {
		ID      int64  `db:"id"`
		Version string `db:"version"`
	}
	in := &inserting{err: io.ErrUnexpectedEOF}
	var server *fakedb.Server
	server = fakedb.Recorded(func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.HasPrefix(c.Query, `SELECT "version"`) {
			if in.stored != nil {
				return fakedb.Row(in.stored), nil
			}
			_, args := lastInsert(server)
			return fakedb.Row(args[1]), nil
		}
		return in.handle(ctx, c)
	})
	db := server.DB()
	defer db.Close()
	items, err := optimistic.NewTable[token](db, "items")
	require.NoError(t, err)
	row := &token{ID: 3}
	require.NoError(t, items.Insert(t.Context(), row))
	require.Len(t, row.Version, 36)
	in.stored = "another's"
	require.ErrorIs(t, items.Insert(t.Context(), &token{ID: 3}), nogap.ErrOutcomeUnknown)
}
