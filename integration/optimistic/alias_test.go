//go:build unix

package optimistic_test

import (
	"database/sql"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

// numbered makes a table with the rows 1 and 2, of version 7.
func numbered(t *testing.T, target matrix.Target) *sql.DB {
	t.Helper()
	db := target.Open(t)
	exec(t, db, "CREATE TABLE items (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT)")
	exec(t, db, "INSERT INTO items VALUES (1, 10, 7), (2, 20, 7)")
	return db
}

// TestCallbackWritesThroughPointers: a callback that changes what a pointer in the row points to does not reach the
// guard that was taken before.
func TestCallbackWritesThroughPointers(t *testing.T) {
	type row struct {
		ID      *int64 `db:"id"`
		Stock   int64  `db:"stock"`
		Version *int64 `db:"version"`
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := numbered(t, target)
		items, err := optimistic.NewTable[row](db, "items")
		require.NoError(t, err)
		calls := 0
		got, err := items.Modify(t.Context(), func(r *row) error {
			if calls++; calls == 1 {
				exec(t, db, "UPDATE items SET stock = stock + 100, version = version + 1 WHERE id = 1")
			}
			*r.Version++ // as one would by hand
			r.Stock--
			return nil
		}, 1)
		require.NoError(t, err)
		require.Equal(t, 2, calls)
		require.Equal(t, int64(9), *got.Version)
		require.Equal(t, int64(109), value[int64](t, db, "SELECT stock FROM items WHERE id = 1"))

		_, err = items.Modify(t.Context(), func(r *row) error {
			*r.ID, r.Stock = 2, 0
			return nil
		}, 1)
		require.ErrorContains(t, err, `changed the key column "id" from 1 to 2`)
		require.Equal(t, int64(20), value[int64](t, db, "SELECT stock FROM items WHERE id = 2"))

		stale := int64(3)
		err = items.Update(t.Context(), &row{ID: got.ID, Version: &stale})
		require.ErrorContains(t, err, "no longer has version 3")
	})
}

// TestCallbackWritesIntoBytes: the same for a key of a type made of bytes.
func TestCallbackWritesIntoBytes(t *testing.T) {
	type id []byte
	type row struct {
		ID      id    `db:"id"`
		Stock   int64 `db:"stock"`
		Version int64 `db:"version"`
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE items (id "+pick("BYTEA", "VARBINARY(10)", "BLOB")(target.Dialect)+
			" PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT)")
		exec(t, db, "INSERT INTO items VALUES ("+pick("'a'::bytea", "x'61'", "x'61'")(target.Dialect)+", 10, 7), ("+
			pick("'b'::bytea", "x'62'", "x'62'")(target.Dialect)+", 20, 7)")
		items, err := optimistic.NewTable[row](db, "items")
		require.NoError(t, err)
		_, err = items.Modify(t.Context(), func(r *row) error {
			r.ID[0], r.Stock = 'b', 0
			return nil
		}, []byte("a"))
		require.ErrorContains(t, err, `changed the key column "id"`)
		require.Equal(t, int64(30), value[int64](t, db, "SELECT sum(stock) FROM items"))
	})
}
