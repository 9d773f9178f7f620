package optimistic_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/optimistic"
)

type Item struct {
	ID      int64 `db:"id"`
	Stock   int64 `db:"stock"`
	Version int64 `db:"version"`
}

var errSoldOut = errors.New("sold out")

func Example() {
	ctx := context.Background()
	db := newShop().DB() // a database with item 42: 2 in stock, version 7

	items, err := optimistic.NewTable[Item](db, "items")
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		item, err := items.Modify(ctx, func(it *Item) error {
			if it.Stock == 0 {
				return errSoldOut
			}
			it.Stock--
			return nil
		}, 42)
		if errors.Is(err, errSoldOut) {
			fmt.Println("sorry")
			return
		}
		fmt.Println(item.Stock, "left in version", item.Version)
	}
	// Output:
	// 1 left in version 8
	// 0 left in version 9
	// sorry
}

func ExampleTable_Insert() {
	ctx := context.Background()
	items, err := optimistic.NewTable[Item](newShop().DB(), "items") // whose id the server makes
	if err != nil {
		fmt.Println(err)
		return
	}
	item := &Item{Stock: 5}
	if err := items.Insert(ctx, item); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("item", item.ID, "in version", item.Version)
	item.Stock = 4
	fmt.Println(items.Update(ctx, item))
	err = items.Insert(ctx, item)
	fmt.Println(errors.Is(err, optimistic.ErrDuplicate))
	// Output:
	// item 43 in version 0
	// <nil>
	// true
}

// The function decides. If somebody else writes the row in between, it is called again with what is there then.
func ExampleTable_Modify() {
	ctx := context.Background()
	s := newShop()
	items, _ := optimistic.NewTable[Item](s.DB(), "items")

	calls := 0
	item, err := items.Modify(ctx, func(it *Item) error {
		if calls++; calls == 1 {
			s.rival(42) // somebody else adds 100 now
		}
		it.Stock--
		return nil
	}, 42)
	fmt.Println(item.Stock, item.Version, err, "after", calls, "attempts")

	_, err = items.Modify(ctx, func(it *Item) error { return errSoldOut }, 42)
	fmt.Println(err) // the function's own error, and nothing is written
	// Output:
	// 101 9 <nil> after 2 attempts
	// sold out
}

func ExampleTable_Delete() {
	ctx := context.Background()
	s := newShop()
	items, _ := optimistic.NewTable[Item](s.DB(), "items")

	item, _ := items.Get(ctx, 42)
	s.rival(42) // somebody else writes it before it is deleted
	err := items.Delete(ctx, item)
	fmt.Println(errors.Is(err, optimistic.ErrVersionConflict))

	item, _ = items.Get(ctx, 42)
	fmt.Println(items.Delete(ctx, item))
	err = items.Delete(ctx, item)
	fmt.Println(errors.Is(err, sql.ErrNoRows))
	// Output:
	// true
	// <nil>
	// true
}

// The error says which row it was, and which version the write was decided from.
func ExampleConflictError() {
	ctx := context.Background()
	s := newShop()
	items, _ := optimistic.NewTable[Item](s.DB(), "items", optimistic.MaxAttempts(2))

	_, err := items.Modify(ctx, func(it *Item) error {
		s.rival(42) // somebody else is always faster
		it.Stock--
		return nil
	}, 42)
	var conflict *optimistic.ConflictError
	if errors.As(err, &conflict) {
		fmt.Println(conflict.Table, conflict.Key, conflict.Version, conflict.Attempts)
	}
	fmt.Println(errors.Is(err, optimistic.ErrRetriesExhausted))
	// Output:
	// items [42] 8 2
	// true
}

// The version may be in any column, and be of several kinds: see the package documentation.
func ExampleVersionColumn() {
	ctx := context.Background()
	type Article struct {
		ID       int64 `db:"id"`
		Stock    int64 `db:"stock"`
		Revision int64 `db:"revision"`
	}
	items, err := optimistic.NewTable[Article](newShop().DB(), "items", optimistic.VersionColumn("revision"))
	if err != nil {
		fmt.Println(err)
		return
	}
	article, err := items.Modify(ctx, func(a *Article) error { a.Stock = 9; return nil }, 42)
	fmt.Println(article.Revision, err)
	// Output:
	// 8 <nil>
}

// Where many processes want one row, those who lost once take the row lock for their next attempt.
func ExampleLockAfter() {
	ctx := context.Background()
	s := newShop()
	items, err := optimistic.NewTable[Item](s.DB(), "items", optimistic.LockAfter(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	calls := 0
	_, err = items.Modify(ctx, func(it *Item) error {
		if calls++; calls == 1 {
			s.rival(42) // somebody else is faster
		}
		it.Stock--
		return nil
	}, 42)
	fmt.Println(err)
	for _, statement := range s.statements() {
		if strings.HasSuffix(statement, "FOR UPDATE") {
			fmt.Println(statement)
		}
	}
	// Output:
	// <nil>
	// SELECT "id", "stock", "version" FROM "items" WHERE "id" = $1 FOR UPDATE
}

func ExampleTable_Update() {
	ctx := context.Background()
	items, _ := optimistic.NewTable[Item](newShop().DB(), "items")

	// Two people open the same form.
	alice, _ := items.Get(ctx, 42)
	bob, _ := items.Get(ctx, 42)

	alice.Stock = 20
	fmt.Println(items.Update(ctx, alice))

	bob.Stock = 3
	err := items.Update(ctx, bob)
	var conflict *optimistic.ConflictError
	fmt.Println(errors.As(err, &conflict))
	fmt.Println(conflict.Table, conflict.Key, conflict.Version)
	fmt.Println(errors.Is(err, optimistic.ErrVersionConflict))
	// Output:
	// <nil>
	// true
	// items [42] 7
	// true
}

// A Counter on a column that the Table writes counts the version up too, so the editor's Update does not take back what was
// sold meanwhile.
func Example_togetherWithAtomic() {
	ctx := context.Background()
	db := newShop().DB()
	items, _ := optimistic.NewTable[Item](db, "items")
	_, err := atomic.NewCounter[int64](db, "items", "stock")
	fmt.Println(err)
	stock, _ := atomic.NewCounter[int64](db, "items", "stock", atomic.VersionColumn("version"))

	item, _ := items.Get(ctx, 42)
	left, _ := stock.Decrement(ctx, 2, 42)
	fmt.Println(left, "left")
	fmt.Println(errors.Is(items.Update(ctx, item), optimistic.ErrVersionConflict))
	// Output:
	// atomic: items.stock: an optimistic.Table of items writes the column too, and would write back what it read: give atomic.VersionColumn("version") to what counts, or optimistic.ReadOnly("stock") to the Table
	// 0 left
	// true
}

func ExampleReadOnly() {
	ctx := context.Background()
	db := newShop().DB()
	stock, _ := atomic.NewCounter[int64](db, "items", "stock")
	items, err := optimistic.NewTable[Item](db, "items", optimistic.ReadOnly("stock"))
	fmt.Println(err)

	left, _ := stock.Decrement(ctx, 2, 42)
	fmt.Println(left, "left")
	_, err = items.Modify(ctx, func(it *Item) error { it.Stock = 5; return nil }, 42)
	fmt.Println(err)
	// Output:
	// <nil>
	// 0 left
	// optimistic: items at [42]: the callback changed the column "stock", which is ReadOnly, from 0 to 5
}

func ExampleTable_WithTx() {
	ctx := context.Background()
	db := newShop().DB()
	items, _ := optimistic.NewTable[Item](db, "items")

	err := optimistic.RetryOnVersionConflict(ctx, func(ctx context.Context) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		item, err := items.WithTx(tx).Modify(ctx, func(it *Item) error { it.Stock--; return nil }, 42)
		if err != nil {
			return err
		}
		fmt.Println(item.Stock, "left")
		// What else belongs together, such as the order, goes here.
		return tx.Commit()
	})
	fmt.Println(err)
	// Output:
	// 1 left
	// <nil>
}

func ExampleRetryOnVersionConflict() {
	ctx := context.Background()
	db := newShop().DB()

	err := optimistic.RetryOnVersionConflict(ctx, func(ctx context.Context) error {
		var stock, version int64
		err := db.QueryRowContext(ctx, "SELECT stock, version FROM items WHERE id = $1", 42).Scan(&stock, &version)
		if err != nil {
			return err
		}
		res, err := db.ExecContext(ctx,
			"UPDATE items SET stock = $1, version = $2 WHERE id = $3 AND version = $4", stock-1, version+1, 42, version)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 1 {
			return err
		}
		return optimistic.ErrVersionConflict // somebody else was faster
	})
	fmt.Println(err)
	// Output: <nil>
}

func ExampleTable_Get() {
	items, _ := optimistic.NewTable[Item](newShop().DB(), "items")
	item, err := items.Get(context.Background(), 42)
	fmt.Println(item.Stock, item.Version, err)
	_, err = items.Get(context.Background(), 43)
	fmt.Println(errors.Is(err, sql.ErrNoRows))
	// Output:
	// 2 7 <nil>
	// true
}
