package atomic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/nogap-go/nogap/internal/fakedb"
)

// The examples run on these: just enough of a PostgreSQL to answer them.

func shop() *sql.DB { return numbers(map[string]int64{"sku-1": 1, "sku-2": 5}) }
func bank() *sql.DB { return numbers(map[string]int64{"alice": 80, "bob": 0}) }

const version = "PostgreSQL 15.18 on x86_64-pc-linux-gnu"

// numbers is a table of one number per key.
func numbers(rows map[string]int64) *sql.DB {
	var mu sync.Mutex
	committed := maps.Clone(rows)
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case c.Kind == fakedb.Rollback:
			rows = maps.Clone(committed)
		case c.Kind == fakedb.Commit:
			committed = maps.Clone(rows)
		case c.Query == "SELECT version()":
			return fakedb.Row(version), nil
		case c.Kind == fakedb.Query:
			key := c.Arg(0).(string)
			n := int64(1)
			if len(c.Args) > 1 {
				n = c.Arg(1).(int64)
			}
			switch {
			case strings.HasPrefix(c.Query, "SELECT"):
				return fakedb.Row(rows[key], int64(0)), nil
			case strings.Contains(c.Query, " + "):
				rows[key] += n
			case rows[key] < n:
				return fakedb.Reply{Columns: []string{""}}, nil
			default:
				rows[key] -= n
			}
			return fakedb.Row(rows[key]), nil
		}
		return fakedb.Reply{}, nil
	})
}

// blog is a table of pairs.
func blog() *sql.DB {
	there := map[string]bool{}
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Query == "SELECT version()" {
			return fakedb.Row(version), nil
		}
		if c.Kind == fakedb.Query {
			pair := fmt.Sprint(c.Arg(0), c.Arg(1))
			if there[pair] {
				return fakedb.Row(int64(0)), nil
			}
			there[pair] = true
			return fakedb.Row(int64(1)), nil
		}
		return fakedb.Reply{}, nil
	})
}

// orders is one order.
func orders() *sql.DB {
	var status driver.Value = "pending"
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Query == "SELECT version()":
			return fakedb.Row(version), nil
		case c.Kind == fakedb.Query:
			return fakedb.Row(status, int64(0)), nil
		case c.Kind == fakedb.Exec && c.Arg(1) == status:
			status = c.Arg(2)
			return fakedb.Reply{RowsAffected: 1}, nil
		}
		return fakedb.Reply{}, nil
	})
}

// codes is one code that has not been used.
func codes() *sql.DB {
	used := false
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Query == "SELECT version()":
			return fakedb.Row(version), nil
		case strings.HasPrefix(c.Query, "SELECT"):
			return fakedb.Row(int64(4)), nil // used
		case strings.HasPrefix(c.Query, "UPDATE") && !used:
			used = true
			return fakedb.Row(int64(1), c.Arg(0), int64(7)), nil
		}
		return fakedb.Reply{Columns: []string{"one", "code", "user_id"}}, nil
	})
}

// coupon is one coupon with a limit.
func coupon(limit int64) *sql.DB {
	used := int64(0)
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Query == "SELECT version()":
			return fakedb.Row(version), nil
		case strings.HasPrefix(c.Query, "SELECT"):
			return fakedb.Row(used, int64(3)), nil // the condition fails
		case strings.HasPrefix(c.Query, "UPDATE") && used < limit:
			used += c.Arg(1).(int64)
			return fakedb.Row(used), nil
		}
		return fakedb.Reply{Columns: []string{"used"}}, nil
	})
}

// numbered is a table of numbers in which a row is inserted.
func numbered() *sql.DB {
	there, n := false, int64(0)
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch verb, _, _ := strings.Cut(c.Query, " "); {
		case c.Query == "SELECT version()":
			return fakedb.Row(version), nil
		case verb == "INSERT":
			there = true
		case verb == "UPDATE" && there:
			n++
			return fakedb.Row(n), nil
		}
		return fakedb.Reply{Columns: []string{"last"}}, nil
	})
}
