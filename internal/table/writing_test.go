package table_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// named returns a Table of that name.
func named(t *testing.T, db *sql.DB, name string) *table.Table {
	t.Helper()
	bound, err := table.Bind(db, name, table.Options{Dialect: nogap.Postgres})
	require.NoError(t, err)
	return bound
}

func columns(t *testing.T, names ...string) []dialect.Ident {
	t.Helper()
	ids, err := dialect.Columns(names...)
	require.NoError(t, err)
	return ids
}

func TestWritings(t *testing.T) {
	version, other, stock := columns(t, "version")[0], columns(t, "rev")[0], columns(t, "stock")[0]
	const (
		both    = `give atomic.VersionColumn("version") to what counts, or optimistic.ReadOnly("stock") to the Table`
		oneWay  = `the version "version" is no integer that atomic.VersionColumn could count up, so give optimistic.ReadOnly("stock") to the Table`
		counts  = `items.stock: an optimistic.Table of items writes the column too, and would write back what it read: `
		compare = `column stock is changed by package atomic too, in items, and would be written back as it was read: `
	)
	for _, tt := range []struct {
		name           string
		version        *dialect.Ident
		integer        bool
		written        []dialect.Ident
		table, counted string // what each gets that is made second
	}{
		{"no version", nil, true, columns(t, "name", "stock"), compare + both, counts + both},
		{"another version", &other, true, columns(t, "name", "stock"), compare + both, counts + both},
		{"the version", &version, true, columns(t, "name", "stock"), "", ""},
		{"another column", nil, true, columns(t, "name"), "", ""},
		{"no integer", nil, false, columns(t, "stock"), compare + oneWay, counts + oneWay},
		{"no integer, counted", &version, false, columns(t, "stock"), compare + oneWay, counts + oneWay},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, tableFirst := range []bool{true, false} {
				db := fakedb.Open(nil)
				defer db.Close()
				compares := func() error { return named(t, db, "items").Compares(version, tt.integer, tt.written) }
				counts := func() error { return named(t, db, "items").Counts(stock, tt.version) }
				first, second, want := counts, compares, tt.table
				if tableFirst {
					first, second, want = compares, counts, tt.counted
				}
				require.NoError(t, first())
				for range 2 {
					if err := second(); want == "" {
						require.NoError(t, err)
					} else {
						require.EqualError(t, err, want)
					}
				}
				require.NoError(t, first(), "what worked before goes on working")
				elsewhere := fakedb.Open(nil)
				defer elsewhere.Close()
				db = elsewhere
				require.NoError(t, second(), "another database")
			}
		})
	}
}

// asked is a database that says whether two names are of one table.
func asked(same any) *fakedb.Server {
	return fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if !strings.Contains(c.Query, "to_regclass") {
			return fakedb.Reply{}, nil
		}
		if err, ok := same.(error); ok {
			return fakedb.Reply{}, err
		}
		return fakedb.Row(same), nil
	})
}

func TestServerIsAskedWhetherTwoNamesAreOneTable(t *testing.T) {
	version, stock := columns(t, "version")[0], columns(t, "stock")[0]
	use := func(bound *table.Table) error {
		_, err := new(table.SQL[statements]).Of(t.Context(), bound,
			func(context.Context, txn.Runner, dialect.Server, dialect.Look) (*statements, error) {
				return new(statements), nil
			})
		return err
	}
	for _, tt := range []struct {
		name, second, column string
		answer               any
		asked                int
		err                  string
	}{
		{"one", "public.items", "stock", int64(1), 2, "atomic.VersionColumn"},
		{"two", "archive.items", "stock", int64(0), 2, ""},
		{"unknown", "public.items", "stock", errors.New("gone"), -1, "whether public.items and items are one table: gone"},
		{"another table", "public.orders", "stock", int64(1), 0, ""},
		{"another column", "public.items", "price", int64(1), 0, ""},
		{"another column, which the server tells apart", "public.items", "Stock", int64(1), 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := asked(tt.answer)
			db := server.DB()
			defer db.Close()
			first, second := named(t, db, "items"), named(t, db, tt.second)
			require.NoError(t, first.Counts(stock, nil))
			require.NoError(t, second.Compares(version, true, columns(t, tt.column)))
			for range 2 {
				if err := use(second); tt.err == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, tt.err)
				}
			}
			require.NoError(t, use(first), "what was there before is not asked about what came later")
			if tt.asked >= 0 {
				require.Len(t, server.Log(), tt.asked)
			}
		})
	}
}
