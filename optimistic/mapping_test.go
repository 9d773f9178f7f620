package optimistic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

type ID struct {
	ID int64 `db:"id"`
}

type Audit struct {
	Changed sql.NullTime `db:"changed_at"`
	Stock   int64        `db:"hidden"` // not hidden: it has a name of its own
}

type wide struct {
	ID
	*Audit
	Name    *string `db:"name"`
	Price   float64
	Cache   map[string]int `db:"-"`
	private int            // has no column
	Version int64          `db:"version"`
}

var _ = wide{}.private // used by nobody, mapped by nobody

func TestColumns(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := fakedb.Recorded(answers(fakedb.Reply{
		Columns:      make([]string, 6),
		Rows:         [][]driver.Value{{int64(1), at, int64(2), "pen", 1.5, int64(3)}},
		RowsAffected: 1,
	}))
	items, err := optimistic.NewTable[wide](s.DB(), "items", optimistic.WithDialect(nogap.SQLite))
	require.NoError(t, err)
	item, err := items.Get(t.Context(), 1)
	require.NoError(t, err)
	pen := "pen"
	require.Equal(t, &wide{ID: ID{1}, Audit: &Audit{sql.NullTime{Time: at, Valid: true}, 2}, Name: &pen, Price: 1.5, Version: 3}, item)

	item.Audit, item.Name = nil, nil
	require.NoError(t, items.Update(t.Context(), item))
	require.Nil(t, item.Audit, "Update makes nothing up")
	require.Equal(t, []string{
		"SELECT `id`, `changed_at`, `hidden`, `name`, `price`, `version` FROM `items` WHERE `id` = ?1",
		"BEGIN IMMEDIATE",
		"UPDATE `items` SET `changed_at` = ?1, `hidden` = ?2, `name` = ?3, `price` = ?4, `version` = ?5 WHERE `id` = ?6 AND `version` = ?7",
		"COMMIT",
	}, s.Log())
	var args []driver.Value
	for _, a := range s.Calls()[3].Args {
		args = append(args, a.Value)
	}
	require.Equal(t, []driver.Value{nil, nil, nil, 1.5, int64(4), int64(1), int64(3)}, args)
}

type noVersion struct {
	ID int64 `db:"id"`
}

type noKey struct {
	Version int64 `db:"version"`
}

type address struct{ City string }

type (
	structField struct {
		ID
		Home    address `db:"home"`
		Version int64   `db:"version"`
	}
	taggedEmbedded struct {
		ID      `db:"id"`
		Version int64 `db:"version"`
	}
	privateEmbedded struct {
		*address
		ID
		Version int64 `db:"version"`
	}
	floatVersion struct {
		ID
		Version float64 `db:"version"`
	}
	arrayVersion struct {
		ID
		Version [16]byte `db:"version"`
	}
	badName struct {
		ID
		Name    string `db:"na'me"`
		Version int64  `db:"version"`
	}
	smallXmin struct {
		ID
		Name string
		Xmin int32 `db:"xmin"`
	}
	onlyXmin struct {
		ID
		Xmin uint32 `db:"xmin"`
	}
)

func TestNewTableErrors(t *testing.T) {
	db := newShop().DB()
	xmin := optimistic.VersionColumn("xmin")
	for name, tt := range map[string]struct {
		make func() error
		want string
	}{
		"no db":               {newTable[Item](nil, "items"), "db is nil"},
		"no table":            {newTable[Item](db, ""), "empty"},
		"bad table":           {newTable[Item](db, `items; DROP`), "';'"},
		"no struct":           {newTable[int](db, "items"), "int is not a struct"},
		"pointer":             {newTable[*Item](db, "items"), "is not a struct"},
		"a value":             {newTable[time.Time](db, "items"), "is not a struct"},
		"no version field":    {newTable[noVersion](db, "items"), `no field for the version column "version"`},
		"no key field":        {newTable[noKey](db, "items"), `no field for the key column "id": tag one with db:"id", or name another column with WithKey`},
		"other version field": {newTable[Item](db, "items", optimistic.VersionColumn("rev")), `version column "rev"`},
		"other key field":     {newTable[Item](db, "items", optimistic.WithKey("id", "shop")), `key column "shop"`},
		"key is version":      {newTable[Item](db, "items", optimistic.WithKey("version")), "both"},
		"struct field":        {newTable[structField](db, "items"), "Home"},
		"tagged embedded":     {newTable[taggedEmbedded](db, "items"), "ID"},
		"private embedded":    {newTable[privateEmbedded](db, "items"), "unexported"},
		"float version":       {newTable[floatVersion](db, "items"), "float64"},
		"array version":       {newTable[arrayVersion](db, "items"), "[16]uint8"},
		"bad column":          {newTable[badName](db, "items"), "Name"},
		"xmin too small":      {newTable[smallXmin](db, "items", xmin), "int32"},
		"xmin and no data":    {newTable[onlyXmin](db, "items", xmin), "no column to write"},
		"bad version column":  {newTable[Item](db, "items", optimistic.VersionColumn("")), "empty"},
		"no key":              {newTable[Item](db, "items", optimistic.WithKey()), "WithKey"},
		"key twice":           {newTable[Item](db, "items", optimistic.WithKey("id", "id")), "twice"},
		"bad dialect":         {newTable[Item](db, "items", optimistic.WithDialect(9)), "Dialect(9)"},
		"bad lock":            {newTable[Item](db, "items", optimistic.LockAfter(0)), "LockAfter(0)"},
		"bad attempts":        {newTable[Item](db, "items", optimistic.MaxAttempts(0)), "MaxAttempts(0)"},
		"bad backoff":         {newTable[Item](db, "items", optimistic.Backoff(nil)), "Backoff(nil)"},
		"nil option":          {newTable[Item](db, "items", nil), "option 0 is nil"},
	} {
		t.Run(name, func(t *testing.T) {
			err := tt.make()
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "optimistic: ")
		})
	}
}

func newTable[T any](db *sql.DB, name string, opts ...optimistic.Option) func() error {
	return func() error {
		_, err := optimistic.NewTable[T](db, name, opts...)
		return err
	}
}

// What only the server knows is the first call's error, and every further call's.
func TestServerErrors(t *testing.T) {
	type stamped struct {
		ID
		Changed time.Time `db:"version"`
	}
	type withXmin struct {
		ID
		Name string
		Xmin uint32 `db:"xmin"`
	}
	for columnType, ok := range map[string]bool{
		"timestamp with time zone": true, "timestamp(6) without time zone": true, "timestamp without time zone": true,
		"timestamp(3) with time zone": false, "date": false, "text": false, "": false,
	} {
		t.Run("postgres "+columnType, func(t *testing.T) {
			checkPrecision[stamped](t, nogap.Postgres, columnType, ok)
		})
	}
	for columnType, ok := range map[string]bool{
		"datetime(6)": true, "timestamp(6)": true, "datetime": false, "timestamp": false, "datetime(3)": false, "date": false, "": false,
	} {
		t.Run("mysql "+columnType, func(t *testing.T) {
			checkPrecision[stamped](t, nogap.MySQL, columnType, ok)
		})
	}
	for _, d := range []nogap.Dialect{nogap.MySQL, nogap.MariaDB, nogap.SQLite} {
		items, err := optimistic.NewTable[withXmin](fakedb.Open(answers(fakedb.Reply{})), "items",
			optimistic.WithDialect(d), optimistic.VersionColumn("xmin"))
		require.NoError(t, err)
		_, err = items.Get(t.Context(), 1)
		require.ErrorContains(t, err, d.String()+" has no xmin")
	}
}

func checkPrecision[T any](t *testing.T, d nogap.Dialect, columnType string, ok bool) {
	s := fakedb.Recorded(answers(fakedb.Reply{Columns: []string{"none"}}))
	looks := 0
	s.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		looks++
		return fakedb.Looked(c, columnType), nil
	}
	items, err := optimistic.NewTable[T](s.DB(), "items", optimistic.WithDialect(d))
	require.NoError(t, err)
	for range 2 {
		_, err = items.Get(t.Context(), 1)
		if ok {
			require.NotContains(t, err.Error(), "version column") // the reply is no row of the table
			return
		}
		require.ErrorContains(t, err, `version column "version"`)
	}
	require.Empty(t, s.Log(), "nothing else was asked")
	require.GreaterOrEqual(t, looks, 2)
}
