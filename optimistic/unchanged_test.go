package optimistic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

func nothing(*Item) error { return nil }

// A Modify that changes nothing writes nothing.
func TestModifyUnchanged(t *testing.T) {
	for name, fn := range map[string]func(*Item) error{
		"nothing":     nothing,
		"and back":    func(it *Item) error { it.Stock++; it.Stock--; return nil },
		"its version": func(it *Item) error { it.Version = 99; return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop()
			items := openItems(t, s)
			item, err := items.Modify(t.Context(), fn, 42)
			require.NoError(t, err)
			require.Equal(t, &Item{42, 2, 7}, item)
			require.Equal(t, []string{loadItem}, s.statements())

			item.Stock = 1
			require.NoError(t, items.Update(t.Context(), item), "the version is the row's")
		})
	}
}

// The row that was read may be stale by the time of the answer.
func TestModifyUnchangedIsStale(t *testing.T) {
	s := newShop()
	items := openItems(t, s)
	item, err := items.Modify(t.Context(), func(*Item) error { s.rival(42); return nil }, 42)
	require.NoError(t, err)
	require.Equal(t, &Item{42, 2, 7}, item)
	require.ErrorIs(t, items.Update(t.Context(), item), optimistic.ErrVersionConflict)
}

func TestModifyUnchangedInTransaction(t *testing.T) {
	s := newShop()
	db := s.DB()
	items, err := optimistic.NewTable[Item](db, "items")
	require.NoError(t, err)
	tx := begin(t, db)
	item, err := items.WithTx(tx).Modify(t.Context(), func(it *Item) error { it.Version = 99; return nil }, 42)
	require.NoError(t, err)
	require.Equal(t, &Item{42, 2, 7}, item)
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{"BEGIN", loadItem, "COMMIT"}, s.statements())
}

// Under LockAfter the transaction is rolled back, so that nothing depends on the answer to a COMMIT.
func TestModifyUnchangedLocked(t *testing.T) {
	s := newLockingShop()
	items := openItems(t, s.shop, optimistic.LockAfter(1), noWait)
	calls := 0
	item, err := items.Modify(t.Context(), func(it *Item) error {
		if calls++; calls == 1 {
			s.rival(42)
			return take(it)
		}
		return nil
	}, 42)
	require.NoError(t, err)
	require.Equal(t, &Item{42, 102, 8}, item)
	require.Equal(t, []string{loadItem, swapItem, "BEGIN", loadItem + " FOR UPDATE", "ROLLBACK"}, s.statements())
}

func TestModifyUnchangedContext(t *testing.T) {
	s := newShop()
	ctx, cancel := context.WithCancel(t.Context())
	item, err := openItems(t, s).Modify(ctx, func(*Item) error { cancel(); return nil }, 42)
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, item)
}

func TestModifyUnchangedIsObserved(t *testing.T) {
	s := newShop()
	db := s.DB()
	items, err := optimistic.NewTable[Item](db, "items")
	require.NoError(t, err)
	w := new(watcher)
	defer nogap.Observe(db, w)()
	_, err = items.Modify(t.Context(), nothing, 42)
	require.NoError(t, err)
	require.Equal(t, []nogap.Result{{Outcome: nogap.OutcomeOK, Attempts: 1}}, w.ends)
}

// labels is a map in a column of JSON.
type labels map[string]string

func (l labels) Value() (driver.Value, error) { return json.Marshal(map[string]string(l)) }
func (l *labels) Scan(v any) error            { return json.Unmarshal(v.([]byte), (*map[string]string)(l)) }

// tags can be read, and only a driver that knows arrays can write them.
type tags []string

func (l *tags) Scan(any) error { *l = tags{"a"}; return nil }

// broken is a value that cannot be written.
type broken string

var errBroken = errors.New("broken")

func (broken) Value() (driver.Value, error) { return nil, errBroken }

// secret is written in another way each time.
type secret string

var salt int64

func (s secret) Value() (driver.Value, error) { salt++; return salt, nil }

// What counts as a change is what the driver would be sent.
func TestWhatIsAChange(t *testing.T) {
	noon := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	east := time.FixedZone("east", 3600)
	t.Run("bytes", func(t *testing.T) {
		changes(t, []byte("a"), map[string]change[[]byte]{
			"none": {same: true}, "a copy": {same: true, do: func(v *[]byte) { *v = []byte("a") }},
			"in place": {do: func(v *[]byte) { (*v)[0] = 'b' }}, "NULL": {do: func(v *[]byte) { *v = nil }},
		})
		changes(t, []byte{}, map[string]change[[]byte]{
			"none": {same: true}, "NULL": {do: func(v *[]byte) { *v = nil }},
		})
		changes(t, nil, map[string]change[[]byte]{
			"none": {same: true}, "empty": {do: func(v *[]byte) { *v = []byte{} }},
		})
	})
	t.Run("named bytes", func(t *testing.T) {
		changes(t, []byte("{}"), map[string]change[json.RawMessage]{
			"none": {same: true}, "in place": {do: func(v *json.RawMessage) { (*v)[0] = ' ' }},
		})
	})
	t.Run("pointer", func(t *testing.T) {
		changes(t, int64(5), map[string]change[*int64]{
			"none": {same: true}, "in place": {do: func(v **int64) { **v = 6 }}, "NULL": {do: func(v **int64) { *v = nil }},
			"another": {same: true, do: func(v **int64) { n := int64(5); *v = &n }},
		})
		changes(t, nil, map[string]change[*int64]{"none": {same: true}, "zero": {do: func(v **int64) { *v = new(int64) }}})
	})
	t.Run("time", func(t *testing.T) {
		changes(t, noon, map[string]change[time.Time]{
			"none":         {same: true},
			"a zone":       {do: func(v *time.Time) { *v = v.In(east) }},
			"a nanosecond": {do: func(v *time.Time) { *v = v.Add(1) }},
			"the same":     {same: true, do: func(v *time.Time) { *v = noon.In(time.FixedZone("UTC", 0)) }},
		})
	})
	t.Run("float", func(t *testing.T) {
		changes(t, 0.0, map[string]change[float64]{
			"none": {same: true}, "minus zero": {do: func(v *float64) { *v = math.Copysign(0, -1) }},
		})
		changes(t, math.NaN(), map[string]change[float64]{"none": {same: true}})
	})
	t.Run("NULL", func(t *testing.T) {
		changes(t, nil, map[string]change[sql.NullString]{
			"none": {same: true}, "empty": {do: func(v *sql.NullString) { v.Valid = true }},
			"behind NULL": {same: true, do: func(v *sql.NullString) { v.String = "unseen" }},
		})
	})
	t.Run("a map", func(t *testing.T) {
		changes(t, []byte(`{"a":"b"}`), map[string]change[labels]{
			"none": {same: true}, "in place": {do: func(v *labels) { (*v)["a"] = "c" }},
		})
	})
	t.Run("any", func(t *testing.T) {
		changes(t, int64(5), map[string]change[any]{
			"none": {same: true}, "another type": {do: func(v *any) { *v = "5" }}, "bytes": {do: func(v *any) { *v = []byte("5") }},
		})
	})
	t.Run("in doubt", func(t *testing.T) {
		changes(t, "x", map[string]change[secret]{"none": {}})
		changes(t, "x", map[string]change[broken]{"none": {err: errBroken}})
		changes(t, "{a}", map[string]change[tags]{"none": {err: errors.New("unsupported type")}})
		changes(t, uint64(math.MaxUint64), map[string]change[uint64]{"none": {err: errors.New("high bit set")}})
	})
}

// change is what a callback does to a column, and whether it is none.
type change[V any] struct {
	do   func(*V)
	same bool
	err  error // of the write that is tried
}

// changes calls Modify for each change on a row whose column has the value stored.
func changes[V any](t *testing.T, stored any, cases map[string]change[V]) {
	t.Helper()
	type row struct {
		ID      int64 `db:"id"`
		Data    V     `db:"data"`
		Version int64 `db:"version"`
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			writes := 0
			db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				if c.Kind == fakedb.Exec {
					writes++
				}
				reply := fakedb.Row(int64(1), stored, int64(7))
				reply.RowsAffected = 1
				return reply, nil
			})
			defer db.Close()
			rows, err := optimistic.NewTable[row](db, "items", optimistic.WithDialect(nogap.SQLite))
			require.NoError(t, err)
			item, err := rows.Modify(t.Context(), func(r *row) error {
				if c.do != nil {
					c.do(&r.Data)
				}
				return nil
			}, 1)
			switch {
			case c.err != nil:
				require.ErrorContains(t, err, c.err.Error())
			case c.same:
				require.NoError(t, err)
				require.Zero(t, writes)
				require.Equal(t, int64(7), item.Version)
			default:
				require.NoError(t, err)
				require.Equal(t, 1, writes)
				require.Equal(t, int64(8), item.Version)
			}
		})
	}
}

// Embedded holds a version.
type Embedded struct {
	Version *int64 `db:"version"`
}

// A version behind a pointer that the callback has written through, or taken away, is the one that was read again.
func TestModifyUnchangedPointers(t *testing.T) {
	type row struct {
		ID   int64 `db:"id"`
		Data int64 `db:"data"`
		*Embedded
	}
	db := fakedb.Open(answers(fakedb.Row(int64(1), int64(2), int64(7))))
	defer db.Close()
	rows, err := optimistic.NewTable[row](db, "items", optimistic.WithDialect(nogap.SQLite))
	require.NoError(t, err)
	for name, fn := range map[string]func(*row) error{
		"written through": func(r *row) error { *r.Version++; return nil },
		"taken away":      func(r *row) error { r.Embedded = nil; return nil },
	} {
		item, err := rows.Modify(t.Context(), fn, 1)
		require.NoError(t, err, name)
		require.Equal(t, int64(7), *item.Version, name)
	}
}
