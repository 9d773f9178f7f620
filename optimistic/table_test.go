package optimistic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

const (
	loadItem = `SELECT "id", "stock", "version" FROM "items" WHERE "id" = $1`
	peekItem = `SELECT "version" FROM "items" WHERE "id" = $1`
	swapItem = `UPDATE "items" SET "stock" = $1, "version" = $2 WHERE "id" = $3 AND "version" = $4` +
		` RETURNING 1 / CASE WHEN NOT ("version" IS NOT DISTINCT FROM $4) THEN 1 ELSE 0 END`
	removeItem = `DELETE FROM "items" WHERE "id" = $1 AND "version" = $2 RETURNING 1`
)

func TestUpdate(t *testing.T) {
	s := newShop()
	items := openItems(t, s)
	item, err := items.Get(t.Context(), 42)
	require.NoError(t, err)
	require.Equal(t, &Item{42, 2, 7}, item)

	item.Stock = 1
	require.NoError(t, items.Update(t.Context(), item))
	require.Equal(t, &Item{42, 1, 8}, item)
	require.Equal(t, *item, s.item(42))
	require.NoError(t, items.Delete(t.Context(), item))
	require.Equal(t, &Item{42, 1, 8}, item)
	require.Zero(t, s.item(42))
	require.Equal(t, []string{loadItem, swapItem, removeItem}, s.statements(), "one statement each")
}

func TestUpdateFails(t *testing.T) {
	lost := errors.New("connection reset")
	for name, tt := range map[string]struct {
		prepare func(*shop)
		want    []error
		not     error
	}{
		"stale": {func(s *shop) { s.rival(42) }, []error{optimistic.ErrVersionConflict}, sql.ErrNoRows},
		"gone":  {func(s *shop) { s.remove(42) }, []error{sql.ErrNoRows}, optimistic.ErrVersionConflict},
		"the connection is lost before": {func(s *shop) {
			s.before = func(c fakedb.Call) error {
				if isWrite(c) {
					return errors.Join(lost, io.ErrUnexpectedEOF, errDown)
				}
				return errDown
			}
		}, []error{nogap.ErrOutcomeUnknown, lost}, optimistic.ErrVersionConflict},
		"the connection is lost after": {func(s *shop) {
			s.after = func(fakedb.Call) error { s.before = func(fakedb.Call) error { return errDown }; return lost }
		}, []error{nogap.ErrOutcomeUnknown, lost}, optimistic.ErrVersionConflict},
		"the reason cannot be read": {func(s *shop) {
			s.rival(42)
			s.before = func(c fakedb.Call) error {
				if c.Query == peekItem {
					return lost
				}
				return nil
			}
		}, []error{optimistic.ErrVersionConflict, lost}, sql.ErrNoRows},
		"constraint": {func(s *shop) { s.before = func(fakedb.Call) error { return serverError("23514") } },
			[]error{serverError("23514")}, nogap.ErrOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			items := openItems(t, s)
			item, err := items.Get(t.Context(), 42)
			require.NoError(t, err)
			item.Stock = 1
			tt.prepare(s)
			err = items.Update(t.Context(), item)
			for _, want := range tt.want {
				require.ErrorIs(t, err, want)
			}
			require.NotErrorIs(t, err, tt.not)
			require.ErrorContains(t, err, "items")
			require.Equal(t, &Item{42, 1, 7}, item, "a failed Update leaves the struct alone")
			writes := 0
			for _, line := range s.statements() {
				if line == swapItem {
					writes++
				}
			}
			require.Equal(t, 1, writes)
		})
	}
}

// errDown is what every further statement on a dead connection fails with.
var errDown = errors.New("the server is down")

func TestConflictSaysWhatWasRead(t *testing.T) {
	s := newShop()
	items := openItems(t, s)
	item := &Item{ID: 42, Stock: 1, Version: 0} // never loaded: zero is a version
	for _, err := range []error{items.Update(t.Context(), item), items.Delete(t.Context(), item)} {
		var conflict *optimistic.ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, "items", conflict.Table)
		require.Equal(t, []any{int64(42)}, conflict.Key)
		require.Equal(t, int64(0), conflict.Version)
		require.Equal(t, 1, conflict.Attempts)
	}
	require.Equal(t, Item{42, 2, 7}, s.item(42))
}

// A deadlock or a serialization failure rolls a single statement back, so it is sent again, and the guard decides.
func TestUpdateAgainAfterSerializationFailure(t *testing.T) {
	for name, rival := range map[string]bool{"wins": false, "loses": true} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			items := openItems(t, s, noWait)
			item, err := items.Get(t.Context(), 42)
			require.NoError(t, err)
			tries := 0
			s.before = func(c fakedb.Call) error {
				if tries++; c.Query == swapItem && tries < 3 {
					return serverError("40001")
				}
				if rival && tries == 3 {
					s.rival(42)
				}
				return nil
			}
			err = items.Update(t.Context(), item)
			if rival {
				require.ErrorIs(t, err, optimistic.ErrVersionConflict)
				return
			}
			require.NoError(t, err)
			require.Equal(t, Item{42, 2, 8}, s.item(42))
		})
	}
}

func TestLastVersion(t *testing.T) {
	s := newShop()
	items := openItems(t, s)
	err := items.Update(t.Context(), &Item{42, 1, math.MaxInt64})
	require.ErrorContains(t, err, "highest")

	type small struct {
		ID      int64 `db:"id"`
		Version int8  `db:"version"`
	}
	smalls, err := optimistic.NewTable[small](s.DB(), "items")
	require.NoError(t, err)
	require.ErrorContains(t, smalls.Update(t.Context(), &small{42, 127}), "highest")
	require.Empty(t, s.statements())
}

// spelled is an integer that goes to the database in another way.
type spelled int64

func (v spelled) Value() (driver.Value, error) { return strconv.Itoa(int(v)), nil }

func TestVersionThatDoesNotCount(t *testing.T) {
	type row struct {
		ID      int64   `db:"id"`
		Version spelled `db:"version"`
	}
	s := newShop()
	rows, err := optimistic.NewTable[row](s.DB(), "items")
	require.NoError(t, err)
	require.ErrorContains(t, rows.Update(t.Context(), &row{42, 7}), "its Value is a string")
	require.Empty(t, s.statements())
}

func TestInTransaction(t *testing.T) {
	s := newShop()
	db := s.DB()
	items, err := optimistic.NewTable[Item](db, "items")
	require.NoError(t, err)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	inTx := items.WithTx(tx)
	calls := 0
	_, err = inTx.Modify(t.Context(), func(it *Item) error { calls++; s.rival(42); return take(it) }, 42)
	require.ErrorIs(t, err, optimistic.ErrVersionConflict)
	require.NotErrorIs(t, err, optimistic.ErrRetriesExhausted)
	require.Equal(t, 1, calls)

	s.before = func(c fakedb.Call) error {
		if isWrite(c) {
			return serverError("40001")
		}
		return nil
	}
	require.ErrorIs(t, inTx.Update(t.Context(), &Item{42, 1, 8}), serverError("40001"))
	require.NoError(t, tx.Rollback())
	require.Equal(t, []string{"BEGIN", loadItem, swapItem, peekItem, swapItem, "ROLLBACK"}, s.statements())

}

func TestBadCalls(t *testing.T) {
	s := newShop()
	items := openItems(t, s)
	nothing := func(*Item) error { panic("called") }
	var errs []error
	add := func(_ *Item, err error) { errs = append(errs, err) }
	add(items.Get(t.Context()))
	add(items.Get(t.Context(), 1, 2))
	add(items.Get(t.Context(), nil))
	add(items.Get(t.Context(), (*int64)(nil)))
	add(items.Modify(t.Context(), nothing))
	add(items.Modify(t.Context(), nothing, nil))
	add(items.Modify(t.Context(), nil, 42))
	add(nil, items.Update(t.Context(), nil))
	add(nil, items.Delete(t.Context(), nil))
	for _, err := range errs {
		require.ErrorContains(t, err, "optimistic: ")
		require.ErrorContains(t, err, "items")
	}
	require.ErrorContains(t, errs[2], "items.id is NULL")
	require.Empty(t, s.statements())
}

func TestSQLOfEachDialect(t *testing.T) {
	type row struct {
		Tenant  string        `db:"tenant"`
		SKU     int64         `db:"sku"`
		Stock   int64         `db:"stock"`
		Version sql.NullInt64 `db:"rev"`
	}
	for d, want := range map[nogap.Dialect]string{
		nogap.Postgres: `UPDATE "shop"."items" SET "stock" = $1, "rev" = $2 WHERE "tenant" = $3 AND "sku" = $4 AND "rev" IS NOT DISTINCT FROM $5` +
			` RETURNING 1 / CASE WHEN NOT ("rev" IS NOT DISTINCT FROM $5) THEN 1 ELSE 0 END`,
		nogap.MySQL:   "UPDATE `shop`.`items` SET `stock` = ?, `rev` = ? WHERE `tenant` = ? AND `sku` = ? AND `rev` <=> ?",
		nogap.MariaDB: "UPDATE `shop`.`items` SET `stock` = ?, `rev` = ? WHERE `tenant` = ? AND `sku` = ? AND `rev` <=> ?",
		nogap.SQLite:  "UPDATE `shop`.`items` SET `stock` = ?1, `rev` = ?2 WHERE `tenant` = ?3 AND `sku` = ?4 AND `rev` IS ?5",
	} {
		t.Run(d.String(), func(t *testing.T) {
			wrote := fakedb.Row(int64(1))
			wrote.RowsAffected = 1
			s := fakedb.Recorded(answers(wrote))
			items, err := optimistic.NewTable[row](s.DB(), "shop.items", optimistic.WithDialect(d),
				optimistic.WithKey("tenant", "sku"), optimistic.VersionColumn("rev"))
			require.NoError(t, err)
			item := &row{Tenant: "a", SKU: 5, Stock: 3}
			require.NoError(t, items.Update(t.Context(), item))
			require.Equal(t, sql.NullInt64{Int64: 1, Valid: true}, item.Version)
			first := 1
			if d == nogap.SQLite {
				first = 2 // behind BEGIN IMMEDIATE
			}
			call := s.Calls()[first]
			require.Equal(t, want, call.Query)
			var args []driver.Value
			for i := range call.Args {
				args = append(args, call.Arg(i))
			}
			require.Equal(t, []driver.Value{int64(3), int64(1), "a", int64(5), nil}, args)
		})
	}
}

// TestTimestampsGrow writes a row whose version lies in the future, as a machine leaves it whose clock is fast.
func TestTimestampsGrow(t *testing.T) {
	type row struct {
		ID      int64     `db:"id"`
		Version time.Time `db:"version"`
	}
	fast := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	s := fakedb.Recorded(answers(fakedb.Reply{RowsAffected: 1}))
	s.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		return fakedb.Looked(c, "datetime(6)"), nil
	}
	items, err := optimistic.NewTable[row](s.DB(), "items", optimistic.WithDialect(nogap.MySQL))
	require.NoError(t, err)
	item := &row{1, fast}
	require.NoError(t, items.Update(t.Context(), item))
	require.Equal(t, time.Microsecond, item.Version.Sub(fast))

	item = &row{1, time.Unix(0, 0)}
	before := time.Now().Truncate(time.Microsecond)
	require.NoError(t, items.Update(t.Context(), item))
	require.False(t, item.Version.Before(before))
	require.Zero(t, item.Version.Nanosecond()%1000)
}

// What is no transaction is an error of every method, and nothing is sent.
func TestWithTxRefuses(t *testing.T) {
	s := newShop()
	db := s.DB()
	items, err := optimistic.NewTable[Item](db, "items")
	require.NoError(t, err)
	for _, asked := range []bool{false, true} {
		if asked { // what the server is, is known
			_, err := items.Get(t.Context(), 42)
			require.NoError(t, err)
		}
		before := len(s.Log())
		for name, tx := range map[string]nogap.Tx{
			"nil": nil, "a typed nil": (*sql.Tx)(nil), "sql.DB": db, "sqlx.DB": sqlx.NewDb(db, "postgres"),
		} {
			want := "no transaction"
			if strings.HasSuffix(name, "nil") {
				want = "the transaction is nil"
			}
			inTx := items.WithTx(tx)
			_, err := inTx.Get(t.Context(), 42)
			require.ErrorContains(t, err, want, name)
			_, err = inTx.Modify(t.Context(), func(*Item) error { panic("called") }, 42)
			require.ErrorContains(t, err, want, name)
			err = inTx.Update(t.Context(), &Item{42, 1, 7})
			require.ErrorContains(t, err, want, name)
			err = inTx.Delete(t.Context(), &Item{42, 1, 7})
			require.ErrorContains(t, err, want, name)
			require.ErrorContains(t, err, "optimistic: items: ", name)
		}
		require.Len(t, s.Log(), before, "nothing was sent")
	}
	require.Equal(t, Item{42, 2, 7}, s.item(42))
}

// A write that has hit two rows stands on the pool, and can be rolled back in a transaction.
func TestNotUnique(t *testing.T) {
	s := fakedb.Recorded(answers(fakedb.Reply{Columns: []string{"one"}, Rows: [][]driver.Value{{int64(1)}, {int64(1)}}}))
	db := s.DB()
	items, err := optimistic.NewTable[Item](db, "items", optimistic.WithDialect(nogap.Postgres))
	require.NoError(t, err)
	for name, write := range map[string]func(*optimistic.Table[Item]) error{
		"Update": func(items *optimistic.Table[Item]) error { return items.Update(t.Context(), &Item{42, 1, 7}) },
		"Delete": func(items *optimistic.Table[Item]) error { return items.Delete(t.Context(), &Item{42, 1, 7}) },
	} {
		t.Run(name, func(t *testing.T) {
			err := write(items)
			require.ErrorIs(t, err, nogap.ErrNotUnique)
			require.ErrorIs(t, err, nogap.ErrOutcomeUnknown)
			require.ErrorContains(t, err, "optimistic: items at [42]: ")

			tx, err := db.BeginTx(t.Context(), nil)
			require.NoError(t, err)
			defer tx.Rollback()
			err = write(items.WithTx(tx))
			require.ErrorIs(t, err, nogap.ErrNotUnique)
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		})
	}
}

// A limit of the server for lock waits ends the call at once. Nobody waits for it fifty times.
func TestLockTimeout(t *testing.T) {
	for _, name := range []string{"Update", "Modify", "Delete"} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			items := openItems(t, s)
			tries := 0
			s.before = func(c fakedb.Call) error {
				if isWrite(c) {
					tries++
					return serverError("55P03")
				}
				return nil
			}
			err := writes(items, 42)[name](t.Context())
			require.ErrorIs(t, err, nogap.ErrLockTimeout)
			require.NotErrorIs(t, err, nogap.ErrRetriesExhausted)
			require.Equal(t, 1, tries)
		})
	}
}

// Why there is no row with the key of an item is for the caller to find out: the error says what it may be.
func TestNoRowSaysWhy(t *testing.T) {
	items := openItems(t, newShop())
	for _, write := range []func(*Item) error{
		func(it *Item) error { return items.Update(t.Context(), it) },
		func(it *Item) error { return items.Delete(t.Context(), it) },
	} {
		err := write(&Item{})
		require.ErrorIs(t, err, sql.ErrNoRows)
		require.ErrorContains(t, err, "items at [0]: ")
		require.ErrorContains(t, err, "the item has the zero key of a new struct")
		err = write(&Item{ID: 43, Version: 7})
		require.ErrorIs(t, err, sql.ErrNoRows)
		require.ErrorContains(t, err, "it was deleted, or the key of the item was changed after it was read")
	}
}
