package atomic_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"io"
	"maps"
	"math"
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
	var before map[string]int64 // what a ROLLBACK brings back
	nothing := fakedb.Reply{Columns: []string{""}}
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case c.Kind == fakedb.Begin:
			before = maps.Clone(rows)
		case c.Kind == fakedb.Rollback:
			rows = before
		case c.Query == "SELECT version()":
			return fakedb.Row(version), nil
		case strings.Contains(c.Query, " RETURNING 1 / "): // CompareAndSet
			if key := c.Arg(0).(string); rows[key] == c.Arg(1) {
				rows[key] = c.Arg(2).(int64)
				return fakedb.Row(int64(1)), nil
			}
			return nothing, nil
		case c.Kind == fakedb.Query, c.Kind == fakedb.Exec && strings.HasPrefix(c.Query, "UPDATE"):
			key, n, limit := c.Arg(0).(string), int64(1), int64(math.MaxInt64)
			if len(c.Args) > 1 {
				n = c.Arg(1).(int64)
			}
			if len(c.Args) > 2 && strings.Contains(c.Query, " <= ") {
				limit = c.Arg(2).(int64)
			}
			_, found := rows[key]
			switch {
			case !found:
				return nothing, nil
			case strings.HasPrefix(c.Query, "SELECT") && strings.Contains(c.Query, " CASE "):
				return fakedb.Row(rows[key], int64(0)), nil
			case strings.HasPrefix(c.Query, "SELECT"):
				return fakedb.Row(rows[key]), nil
			case strings.Contains(c.Query, " + "):
				if rows[key]+n > limit {
					return nothing, nil
				}
				rows[key] += n
			case rows[key] < n:
				return nothing, nil
			default:
				rows[key] -= n
			}
			reply := fakedb.Row(rows[key])
			reply.RowsAffected = 1
			return reply, nil
		}
		return fakedb.Reply{}, nil
	})
}

// unreliable is a shop that loses its first answer to an UPDATE.
func unreliable() *sql.DB {
	stock, lost := int64(5), false
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Query == "SELECT version()":
			return fakedb.Row(version), nil
		case strings.HasPrefix(c.Query, "UPDATE") && !lost:
			stock, lost = stock-1, true
			return fakedb.Reply{}, io.ErrUnexpectedEOF
		}
		return fakedb.Row(stock), nil
	})
}

// shopWithVersions is a shop whose item counts its versions.
func shopWithVersions() *sql.DB {
	stock, v := int64(5), int64(7)
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		switch {
		case c.Query == "SELECT version()":
			return fakedb.Row(version), nil
		case strings.HasPrefix(c.Query, "SELECT version"):
			return fakedb.Row(v), nil
		case strings.HasPrefix(c.Query, "UPDATE") && strings.Contains(c.Query, `"version" = COALESCE("version", 0) + 1`):
			stock, v = stock-c.Arg(1).(int64), v+1
		}
		return fakedb.Row(stock), nil
	})
}

// blog is a table of pairs.
func blog() *sql.DB {
	there := map[string]bool{}
	return fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		verb, _, _ := strings.Cut(c.Query, " ")
		switch {
		case c.Query == "SELECT version()":
			return fakedb.Row(version), nil
		case verb == "INSERT" || verb == "DELETE":
			pair := fmt.Sprint(c.Arg(0), c.Arg(1))
			changes := there[pair] == (verb == "DELETE")
			there[pair] = verb == "INSERT"
			if !changes {
				return fakedb.Reply{Columns: []string{""}}, nil
			}
			return fakedb.Row(int64(1)), nil
		case verb == "SELECT":
			return fakedb.Row(int64(0)), nil
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
		case strings.HasPrefix(c.Query, "SELECT"):
			return fakedb.Row(status, int64(0)), nil
		case strings.HasPrefix(c.Query, "UPDATE") && c.Arg(1) == status:
			status = c.Arg(2)
			return fakedb.Row(int64(1)), nil
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
