package oracle_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/racetest/oracle"
)

// world runs orders of two clients whose ends are made by a function of the order and of the number of the run.
func world(before []oracle.Table, end func(order []int, run int) oracle.End) *oracle.Oracle {
	run := 0
	return oracle.New(2, before, func(_ context.Context, order []int, _ bool) (oracle.End, error) {
		run++
		return end(order, run), nil
	})
}

func ended(tables ...oracle.Table) oracle.End {
	return oracle.End{Tables: tables, Ran: []bool{true, true}, Errs: make([]error, 2)}
}

func columns(names ...string) (c []oracle.Column) {
	for _, name := range names {
		c = append(c, oracle.Column{Name: name})
	}
	return c
}

func rows(rows ...[]any) [][]any { return rows }

func judge(t *testing.T, o *oracle.Oracle, end oracle.End) oracle.Verdict {
	t.Helper()
	v, err := o.Judge(t.Context(), end, []int{0, 1})
	require.NoError(t, err)
	return v
}

func stock(n int) oracle.Table {
	return oracle.Table{Name: "items", Columns: columns("id", "stock"), Rows: rows([]any{int64(1), int64(n)})}
}

func TestLostUpdate(t *testing.T) {
	o := world([]oracle.Table{stock(10)}, func([]int, int) oracle.End { return ended(stock(8)) })
	require.Equal(t, []int{0, 1}, judge(t, o, ended(stock(8))).Order)
	v := judge(t, o, ended(stock(9)))
	require.False(t, v.OK())
	require.Equal(t, []oracle.Difference{{Client: -1, Table: "items", Row: "id 1", Column: "stock", Got: "9", Want: "8", Everywhere: true}}, v.Differences)
}

// The last one wins, whoever that is.
func TestOtherOrder(t *testing.T) {
	o := world(nil, func(order []int, _ int) oracle.End { return ended(stock(order[len(order)-1])) })
	require.Equal(t, []int{1, 0}, judge(t, o, ended(stock(0))).Order)
	require.False(t, judge(t, o, ended(stock(2))).OK())
}

// orders is a table of rows whose ids the server makes, and lines one that refers to it.
func orders(first int, refs ...int) []oracle.Table {
	return []oracle.Table{
		{Name: "orders", Columns: columns("id", "buyer", "code"), Rows: rows(
			[]any{int64(first), "alice", fmt.Sprintf("ORD-%d", first)}, []any{int64(first + 1), "bob", fmt.Sprintf("ORD-%d", first+1)})},
		{Name: "lines", Columns: columns("order_id", "item"), Rows: rows(
			[]any{int64(first + refs[0]), "pen"}, []any{int64(first + refs[1]), "ink"})},
	}
}

func TestVolatile(t *testing.T) {
	o := world(nil, func(_ []int, run int) oracle.End { return ended(orders(1000*run, 0, 1)...) })
	require.True(t, judge(t, o, ended(orders(7, 0, 1)...)).OK(), "new numbers")
	require.False(t, judge(t, o, ended(orders(7, 0, 0)...)).OK(), "both lines belong to one order")
	require.False(t, judge(t, o, ended(orders(7, 1, 0)...)).OK(), "the lines belong to the wrong orders")
}

// A column that is masked as a whole would hide that two rows got the same new number.
func TestSameNewNumber(t *testing.T) {
	batch := func(a, b int) oracle.Table {
		return oracle.Table{Name: "batches", Columns: columns("who", "number"), Rows: rows([]any{"alice", int64(a)}, []any{"bob", int64(b)})}
	}
	o := world(nil, func(_ []int, run int) oracle.End { return ended(batch(100*run, 100*run+1)) })
	require.True(t, judge(t, o, ended(batch(7, 8))).OK())
	require.False(t, judge(t, o, ended(batch(7, 7))).OK())
}

// Of a volatile column the values that all runs have are compared as they are.
func TestFixedValues(t *testing.T) {
	table := func(values ...any) oracle.Table {
		tab := oracle.Table{Name: "codes", Columns: columns("code")}
		for _, v := range values {
			tab.Rows = append(tab.Rows, []any{v})
		}
		return tab
	}
	o := world(nil, func(_ []int, run int) oracle.End { return ended(table("fixed", fmt.Sprint("random", run))) })
	require.True(t, judge(t, o, ended(table("fixed", "other"))).OK())
	require.False(t, judge(t, o, ended(table("changed", "other"))).OK())
}

func TestTimes(t *testing.T) {
	deleted := func(at ...any) oracle.Table {
		tab := oracle.Table{Name: "accounts", Columns: []oracle.Column{{Name: "id"}, {Name: "deleted", Time: true}}}
		for i, v := range at {
			tab.Rows = append(tab.Rows, []any{int64(i), v})
		}
		return tab
	}
	now := time.Now()
	o := world(nil, func([]int, int) oracle.End { return ended(deleted(now, nil)) })
	require.True(t, judge(t, o, ended(deleted(now.Add(time.Second), nil))).OK(), "two runs may have been in the same second")
	require.False(t, judge(t, o, ended(deleted(nil, nil))).OK(), "two live rows after a soft delete")
}

// A clock of whole seconds does not differ between two runs, whatever the type of its column.
func TestClocksOfOtherTypes(t *testing.T) {
	for _, format := range []func(time.Time) any{
		func(at time.Time) any { return at.Unix() },
		func(at time.Time) any { return at.UnixMilli() },
		func(at time.Time) any { return at.Format(time.RFC3339) },
		func(at time.Time) any { return at.UTC().Format("2006-01-02 15:04:05") },
		func(at time.Time) any { return at.String() },
	} {
		made := func(v any) oracle.Table {
			return oracle.Table{Name: "t", Columns: columns("made"), Rows: rows([]any{v})}
		}
		o := world(nil, func([]int, int) oracle.End { return ended(made(format(time.Now()))) })
		require.True(t, judge(t, o, ended(made(format(time.Now().Add(time.Second))))).OK())
		require.False(t, judge(t, o, ended(made(nil))).OK())
	}
}

// SQLite's numbers can't be moved on: two runs give the same, and clients that come crosswise other ones.
func TestGenerated(t *testing.T) {
	table := func(name string, a, b int) oracle.Table {
		return oracle.Table{Name: name, Columns: []oracle.Column{{Name: "id", Generated: true}, {Name: "who"}},
			Rows: rows([]any{int64(a), "alice"}, []any{int64(b), "bob"})}
	}
	refs := func(a, b int) oracle.Table {
		return oracle.Table{Name: "refs", Columns: columns("one", "who"), Rows: rows([]any{int64(a), "alice"}, []any{int64(b), "bob"})}
	}
	before := []oracle.Table{{Name: "one", Columns: []oracle.Column{{Name: "id", Generated: true}, {Name: "who"}}}}
	o := world(before, func(order []int, _ int) oracle.End {
		if order[0] == 0 {
			return ended(table("one", 1, 2), table("two", 1, 2), refs(1, 2))
		}
		return ended(table("one", 2, 1), table("two", 2, 1), refs(2, 1))
	})
	require.True(t, judge(t, o, ended(table("one", 1, 2), table("two", 2, 1), refs(1, 2))).OK())

	o = world(before, func(order []int, _ int) oracle.End {
		if order[0] == 0 {
			return ended(table("one", 1, 2), refs(1, 2))
		}
		return ended(table("one", 2, 1), refs(2, 1))
	})
	require.True(t, judge(t, o, ended(table("one", 1, 2), refs(1, 2))).OK())
	require.False(t, judge(t, o, ended(table("one", 1, 2), refs(2, 1))).OK(), "each refers to the other's row")
}

func TestIgnored(t *testing.T) {
	tab := func(n int) oracle.Table {
		return oracle.Table{Name: "t", Columns: []oracle.Column{{Name: "tries", Ignored: true}}, Rows: rows([]any{int64(n)})}
	}
	o := world(nil, func([]int, int) oracle.End { return ended(tab(1)) })
	require.True(t, judge(t, o, ended(tab(2))).OK())
}

// failing returns an end with an error of a client.
func failing(client int, err error, tables ...oracle.Table) oracle.End {
	e := ended(tables...)
	e.Errs[client] = err
	return e
}

func TestErrors(t *testing.T) {
	soldOut := func(n int) error { return fmt.Errorf("order %d: sold out", n) }
	o := world(nil, func(order []int, run int) oracle.End { return failing(order[1], soldOut(run), stock(0)) })
	require.True(t, judge(t, o, failing(1, soldOut(99), stock(0))).OK(), "a number in an error's text")
	require.True(t, judge(t, o, failing(0, soldOut(99), stock(0))).OK())
	v := judge(t, o, ended(stock(0)))
	require.False(t, v.OK(), "both have got the last one")
	require.Len(t, v.Differences, 1)
}

var errSerialization = errors.New("could not serialize access")

// A text that is made of such numbers.
func TestMadeOfGenerated(t *testing.T) {
	orders := func(a, b int, codes ...string) oracle.Table {
		return oracle.Table{Name: "orders", Columns: []oracle.Column{{Name: "id", Generated: true}, {Name: "who"}, {Name: "code"}},
			Rows: rows([]any{int64(a), "alice", codes[0]}, []any{int64(b), "bob", codes[1]})}
	}
	o := world([]oracle.Table{}, func(order []int, _ int) oracle.End {
		if order[0] == 0 {
			return ended(orders(1, 2, "ORD-1-1", "ORD-2-2"))
		}
		return ended(orders(2, 1, "ORD-2-2", "ORD-1-1"))
	})
	require.True(t, judge(t, o, ended(orders(1, 2, "ORD-1-2", "ORD-2-1"))).OK())
	require.False(t, judge(t, o, ended(orders(1, 2, "ORD-1", "ORD-1"))).OK(), "one code twice")
}

// Who is refused must leave nothing behind.
func TestRefused(t *testing.T) {
	o := world([]oracle.Table{stock(10)}, func(order []int, _ int) oracle.End {
		e := ended(stock(10 - len(order)))
		if len(order) == 1 {
			e.Ran[1-order[0]] = false
		}
		return e
	})
	v := judge(t, o, failing(1, errSerialization, stock(9)))
	require.Equal(t, []int{0}, v.Order)
	require.Equal(t, []int{1}, v.Refused)
	require.False(t, judge(t, o, failing(1, errSerialization, stock(8))).OK(), "half done")
	both := ended(stock(10))
	both.Errs[0], both.Errs[1] = errSerialization, errSerialization
	v = judge(t, o, both)
	require.Equal(t, []int{0, 1}, v.Refused)
	require.True(t, v.OK())
}

// What differed in no two runs may still be random: before it calls an end a failure, the oracle runs each order again.
func TestSeldomDifferent(t *testing.T) {
	o := world(nil, func(_ []int, run int) oracle.End {
		if run > 4 {
			return ended(stock(run))
		}
		return ended(stock(8))
	})
	require.True(t, judge(t, o, ended(stock(9))).OK())
}

func TestDoubt(t *testing.T) {
	o := world(nil, func(_ []int, run int) oracle.End {
		s := stock(8)
		for range run % 2 {
			s.Rows = append(s.Rows, []any{int64(2), int64(0)})
		}
		return ended(s)
	})
	none := stock(8)
	none.Rows = nil
	require.NotNil(t, judge(t, o, ended(none)).Varies, "the same order ends with one row or with two")
}

func TestKind(t *testing.T) {
	require.Empty(t, oracle.Kind(nil))
	require.Equal(t, oracle.Kind(errors.New(`order 17 of 'a' is late (ORD-17)`)), oracle.Kind(errors.New(`order 18 of 'b' is late (ORD-18)`)))
	require.NotEqual(t, oracle.Kind(errors.New("sold out")), oracle.Kind(errors.New("not found")))
}

// What Setup makes anew each time is told, but not what the server makes, what refers to that, and times.
func TestUnsteady(t *testing.T) {
	state := func(run int) []oracle.Table {
		made := oracle.Column{Name: "id", Made: true}
		return []oracle.Table{
			{Name: "users", Columns: append([]oracle.Column{made}, columns("name", "token", "credit", "seen")...), Rows: rows(
				[]any{int64(10 * run), "ann", fmt.Sprint("token", run), int64(5), time.Now()},
				[]any{int64(10*run + 1), "bob", "fixed", int64(7 + run), time.Now()})},
			{Name: "orders", Columns: append(columns("user_id"), oracle.Column{Name: "hint", Ignored: true}), Rows: rows([]any{int64(10 * run), int64(run)})},
		}
	}
	require.Equal(t, []oracle.Unsteady{{"users", "token", "token1", "token2"}, {"users", "credit", "8", "9"}}, oracle.SetupDiffers(state(1), state(2)))
	require.Empty(t, oracle.SetupDiffers(state(1), state(1)))
}
