package optimistic_test

import (
	"database/sql/driver"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/optimistic"
)

// Base and Rich have all that can be copied without help.
type Base struct {
	Note *string `db:"note"`
}

type index map[string][]*int

func (t index) Value() (driver.Value, error) { return "", nil }
func (t *index) Scan(any) error              { return nil }

type Rich struct {
	*Base
	ID      int64     `db:"id"`
	Data    []byte    `db:"data"`
	Pairs   [2]*int   `db:"pairs"`
	Tags    index     `db:"tags"`
	Made    time.Time `db:"made"`
	Version int64     `db:"version"`
	Draft   []string  `db:"-"`
	count   int
}

func TestCopiesAreDeep(t *testing.T) {
	clone, err := optimistic.NewCopy[Rich]()
	require.NoError(t, err)
	note, n, m := "note", 1, 2
	made := func() *Rich {
		note, n, m := note, n, m
		return &Rich{
			Base: &Base{&note}, ID: 1, Data: []byte("data"), Pairs: [2]*int{&n, nil}, Tags: index{"a": {&m, nil}, "b": nil},
			Made: time.Unix(1, 0), Version: 7,
		}
	}
	item := made()
	item.Draft, item.count = []string{"no column"}, 9
	c := clone(item)
	require.Equal(t, made(), c, "with the fields that have columns")
	*c.Note = "other"
	c.Data[0] = 'X'
	*c.Pairs[0] = 99
	*c.Tags["a"][0] = 99
	c.Tags["c"] = nil
	require.Equal(t, made().Tags, item.Tags)
	require.Equal(t, made().Pairs, item.Pairs)
	require.Equal(t, made().Data, item.Data)
	require.Equal(t, "note", *item.Note)

	require.Equal(t, &Rich{}, clone(&Rich{count: 1}), "nil remains nil")
}

type amount struct{ cents *int64 }

func (a amount) Value() (driver.Value, error) { return *a.cents, nil }
func (a *amount) Scan(any) error              { return nil }

type node struct{ Next *node }

func (node) Value() (driver.Value, error) { return nil, nil }

type key struct {
	ID      int64 `db:"id"`
	Version int64 `db:"version"`
}

type cloned struct {
	key
	Price amount `db:"price"`
	copy  bool
}

func (c cloned) Clone() cloned {
	cents := *c.Price.cents
	c.Price.cents, c.copy = &cents, true
	return c
}

// What can't be copied is named, in the error of every method.
func TestUncopiedField(t *testing.T) {
	for want, err := range map[string]error{
		"field Price.cents is unexported and refers to other values (*int64)": coalesceOf[struct {
			key
			Price amount `db:"price"`
		}](t),
		"field Any is a interface {}": coalesceOf[struct {
			key
			Any any `db:"a"`
		}](t),
		"field Hook is a func()": coalesceOf[struct {
			key
			Hook func() `db:"-"`
		}](t),
		"field Tree.Next is of the recursive type optimistic_test.node": coalesceOf[struct {
			key
			Tree node `db:"tree"`
		}](t),
		"field By is a map whose keys refer to other values": coalesceOf[struct {
			key
			By map[*int]int `db:"-"`
		}](t),
	} {
		require.ErrorContains(t, err, "optimistic: Coalesce: items: ")
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "Clone")
	}
	require.NoError(t, coalesceOf[cloned](t))
	clone, err := optimistic.NewCopy[cloned]()
	require.NoError(t, err)
	cents := int64(5)
	item := &cloned{key{1, 2}, amount{&cents}, false}
	c := clone(item)
	require.Equal(t, item, c, "what has no column is left behind")
	*c.Price.cents = 6
	require.Equal(t, int64(5), cents)
}

func coalesceOf[T any](t *testing.T) error {
	t.Helper()
	db := newShop().DB()
	t.Cleanup(func() { db.Close() })
	items, err := optimistic.NewTable[T](db, "items")
	require.NoError(t, err)
	hot := optimistic.Coalesce(items)
	if err := hot.Close(); err != nil {
		_, again := hot.Modify(t.Context(), func(*T) error { panic("called") }, 1)
		require.Equal(t, err, again)
		return err
	}
	return nil
}
