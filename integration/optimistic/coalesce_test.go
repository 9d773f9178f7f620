//go:build unix

package optimistic_test

import (
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

func coalescer(t *testing.T, db *sql.DB, opts ...optimistic.CoalesceOption) *optimistic.Coalescer[counterRow] {
	t.Helper()
	items, err := optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku"))
	require.NoError(t, err)
	return optimistic.Coalesce(items, opts...)
}

func takeOne(r *counterRow) error { r.Stock--; return nil }

// A version and a content are a pair, whatever the server makes of a batch: a trigger that counts the version by itself
// would give the version of the first caller of a batch to what the last one left.
func TestCoalesceVersionOfTrigger(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, counterColumn)
		switch target.Dialect {
		case nogap.Postgres:
			exec(t, db, "CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.version := OLD.version + 1; RETURN NEW; END'")
			exec(t, db, "CREATE TRIGGER count_up BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION count_up()")
		case nogap.SQLite:
			exec(t, db, "CREATE TRIGGER count_up AFTER UPDATE ON items WHEN NEW.version <> OLD.version + 1 "+
				"BEGIN UPDATE items SET version = OLD.version + 1 WHERE shop = NEW.shop AND sku = NEW.sku; END")
		default:
			exec(t, db, "CREATE TRIGGER count_up BEFORE UPDATE ON items FOR EACH ROW SET NEW.version = OLD.version + 1")
		}
		hot := coalescer(t, db)
		concurrent.Run(t, 24, func(int) error {
			row, err := hot.Modify(t.Context(), takeOne, "north", 1)
			if err == nil && row.Version != 10-row.Stock {
				return errors.New("the version is another one's")
			}
			return err
		})
		require.EqualValues(t, -14, value[int64](t, db, stockNow))
		require.EqualValues(t, 24, value[int64](t, db, "SELECT version FROM items"))
	})
}

// A CHECK refuses those whose write it would refuse alone.
func TestCoalesceCheck(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, counterColumn+" CHECK (version < 11)")
		hot := coalescer(t, db)
		var mu sync.Mutex
		refused := 0
		concurrent.Run(t, 24, func(int) error {
			_, err := hot.Modify(t.Context(), takeOne, "north", 1)
			if err != nil && !errors.Is(err, nogap.ErrOutcomeUnknown) {
				mu.Lock()
				defer mu.Unlock()
				refused++
				return nil
			}
			return err
		})
		require.Equal(t, 14, refused)
		require.EqualValues(t, 0, value[int64](t, db, stockNow))
	})
}

// An integer that a hot row would use up is refused before anything is written.
func TestCoalesceNarrowVersion(t *testing.T) {
	columns := map[nogap.Dialect][]string{
		nogap.Postgres: {"SMALLINT", "INTEGER", "NUMERIC(10)"},
		nogap.MySQL:    {"SMALLINT", "INT", "INT UNSIGNED", "MEDIUMINT", "DECIMAL(10)"},
	}
	columns[nogap.MariaDB] = columns[nogap.MySQL]
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		for _, column := range columns[target.Dialect] {
			db := target.Open(t)
			create(t, db, ", version "+column+" NOT NULL DEFAULT 0")
			hot := coalescer(t, db)
			for range 2 {
				_, err := hot.Modify(t.Context(), func(*counterRow) error { panic("called") }, "north", 1)
				require.ErrorContains(t, err, `the version column "version" is `, column)
				require.ErrorContains(t, err, "BIGINT", column)
			}
			require.EqualValues(t, 10, value[int64](t, db, stockNow))
		}
	})
}

// One batch whose answer is lost, for sure. A token tells that it stands, and another version does not.
func TestCoalesceLostAnswer(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		proxy, direct, db := broken(t, target, counterColumn+", token CHAR(36) NOT NULL DEFAULT ''")
		type tokenRow struct {
			Item
			Token string `db:"token"`
		}
		tokens, err := optimistic.NewTable[tokenRow](db, "items", optimistic.WithKey("shop", "sku"), optimistic.VersionColumn("token"))
		require.NoError(t, err)
		for name, take := range map[string]func() error{
			"counter": lostly(t, optimistic.Coalesce(must(optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku")))),
				func(r *counterRow) *Item { return &r.Item }),
			"token": lostly(t, optimistic.Coalesce(tokens), func(r *tokenRow) *Item { return &r.Item }),
		} {
			before := value[int64](t, direct, stockNow)
			require.NoError(t, take(), "to look at the table")
			spare(t, db)
			lost := proxy.LoseReply(faultproxy.Executes("UPDATE"))
			var mu sync.Mutex
			unknown := 0
			concurrent.Run(t, 30, func(int) error {
				err := take()
				if errors.Is(err, nogap.ErrOutcomeUnknown) {
					mu.Lock()
					defer mu.Unlock()
					unknown++
					return nil
				}
				return err
			})
			lost.Await(t)
			require.Equal(t, name == "counter", unknown > 0)
			require.Equal(t, before-31, value[int64](t, direct, stockNow), "once, and not twice")
		}
	})
}

// lostly takes one from the row.
func lostly[T any](t *testing.T, hot *optimistic.Coalescer[T], item func(*T) *Item) func() error {
	return func() error {
		_, err := hot.Modify(t.Context(), func(r *T) error { item(r).Stock--; return nil }, "north", 1)
		return err
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Others change a column that is only read, and no function may.
func TestCoalesceReadOnly(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, counterColumn)
		items, err := optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku"), optimistic.ReadOnly("stock"))
		require.NoError(t, err)
		hot := optimistic.Coalesce(items)
		concurrent.Run(t, 16, func(i int) error {
			if i%4 == 0 {
				_, err := hot.Modify(t.Context(), takeOne, "north", 1)
				require.ErrorContains(t, err, `the column "stock", which is ReadOnly`)
				return nil
			}
			_, err := hot.Modify(t.Context(), func(r *counterRow) error {
				r.Note = sql.NullString{String: r.Note.String + "x", Valid: true}
				return nil
			}, "north", 1)
			return err
		})
		require.Equal(t, "xxxxxxxxxxxx", value[string](t, db, "SELECT note FROM items"))
		require.EqualValues(t, 10, value[int64](t, db, stockNow))
		require.EqualValues(t, 12, value[int64](t, db, "SELECT version FROM items"))
	})
}
