package optimistic_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/optimistic"
)

// step is what a caller's function does.
type step struct {
	op byte
	n  int64
}

var errKeyChanged, errChecked = errors.New("the key was changed"), errors.New("refused by the CHECK")

// apply is the function of the caller.
func (s step) apply(it *Item) error {
	switch s.op % 8 {
	case 0, 1:
		it.Stock -= s.n
		if it.Stock < 0 {
			return errSoldOut
		}
	case 2:
		it.Stock += s.n
	case 3:
		it.Version += s.n // which is ignored
	case 4:
		it.Stock, it.Version = -1, -1
		panic(s.n)
	case 5:
		it.ID++
	case 6:
		if it.Stock%2 == 0 {
			return errSoldOut
		}
		it.Stock = s.n
	case 7:
		it.Stock = s.n
	}
	return nil
}

// end is what a caller got.
type end struct {
	item  Item
	err   error
	panic any
}

// script is a batch, and the row that it meets.
type script struct {
	stock, low, high int64 // the column takes low to high
	maxBatch         int
	rival            int // somebody else writes just before this UPDATE; nobody does if it is 0
	steps            []step
}

// one makes one call on a row, as Modify does. The server looks at the CHECK if it is asked to.
func (s script) one(row *Item, st step, check bool) (e end) {
	it := *row
	defer func() { e.panic = recover() }()
	switch err := st.apply(&it); {
	case err != nil:
		return end{err: err}
	case it.ID != row.ID:
		return end{err: errKeyChanged}
	case check && (it.Stock < s.low || it.Stock > s.high) && it.Stock != row.Stock:
		return end{err: errChecked}
	}
	it.Version = row.Version
	if it.Stock != row.Stock {
		it.Version++
	}
	*row = it
	return end{item: it}
}

// oneByOne makes the calls one by one, with the rival's write before call number at. The server looks at the CHECK of each
// call if it would refuse what a batch has in the end. ok is false if the rival could not come in there.
func (s script) oneByOne(row *Item, steps []step, at int) (ends []end, ok bool) {
	if at == 0 {
		row.Stock += 100
		row.Version++
	}
	start := *row
	for _, st := range steps {
		ends = append(ends, s.one(row, st, false))
	}
	refused := row.Version != start.Version && (row.Stock < s.low || row.Stock > s.high)
	if !refused {
		return ends, at <= 0
	}
	*row, ends = start, nil
	for i, st := range steps {
		if i == at && at > 0 {
			row.Stock += 100
			row.Version++
		}
		ends = append(ends, s.one(row, st, true))
	}
	return ends, true
}

// expected calls yield for each way in which the calls could have come one by one.
func (s script) expected(yield func(row Item, ends []end) bool) {
	for at := -1; at < len(s.steps); at++ {
		row, possible := Item{42, s.stock, 7}, true
		var ends []end
		for from := 0; from < len(s.steps); from += s.maxBatch {
			steps := s.steps[from:min(from+s.maxBatch, len(s.steps))]
			there := -1
			if at >= from && at < from+len(steps) {
				there = at - from
			}
			more, ok := s.oneByOne(&row, steps, there)
			ends, possible = append(ends, more...), possible && ok
		}
		if possible && yield(row, ends) {
			return
		}
	}
}

// likeOneByOne compares what the callers of a batch get, and what is left, with the calls made one by one.
func likeOneByOne(t *testing.T, s script) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		shop := newShop()
		shop.rows[42].Stock = s.stock
		updates := 0
		shop.before = func(c fakedb.Call) error {
			if !strings.HasPrefix(c.Query, "UPDATE") {
				return nil
			}
			if updates++; updates == s.rival {
				shop.rival(42)
			}
			if shop.item(42).Version != c.Arg(3).(int64) {
				return nil
			}
			if stock := c.Arg(0).(int64); stock < s.low || stock > s.high {
				return errors.Join(errChecked, serverError("23514"))
			}
			return nil
		}
		crowd := gather(t, shop, optimistic.MaxBatch(s.maxBatch))
		for _, st := range s.steps {
			crowd.call(context.Background(), st.apply)
		}
		crowd.goOn()
		var got []end
		for _, who := range crowd.callers[1:] {
			got = append(got, who.end())
		}
		var wanted []string
		matches := false
		s.expected(func(row Item, ends []end) bool {
			wanted = append(wanted, fmt.Sprint(row, ends))
			matches = fmt.Sprint(row, ends) == fmt.Sprint(shop.item(42), got)
			return matches
		})
		require.True(t, matches, "%+v\ngot  %v\nwant %v", s, fmt.Sprint(shop.item(42), got), strings.Join(wanted, "\n  or "))
	})
}

// end returns what the caller got, in the words of the script.
func (who *caller) end() (e end) {
	e.panic = who.panic
	switch {
	case who.item != nil:
		e.item = *who.item
	case errors.Is(who.err, errSoldOut):
		e.err = errSoldOut
	case errors.Is(who.err, errChecked):
		e.err = errChecked
	case who.err != nil && strings.Contains(who.err.Error(), "changed the key column"):
		e.err = errKeyChanged
	default:
		e.err = who.err
	}
	return e
}

// TestCoalesceLikeOneByOne makes up batches at random.
func TestCoalesceLikeOneByOne(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		s := script{stock: rnd.Int64N(20), low: -1000, high: 1000, maxBatch: 1 + rnd.IntN(12), rival: rnd.IntN(4)}
		if rnd.IntN(2) == 0 {
			s.high = s.stock + rnd.Int64N(10)
		}
		if rnd.IntN(4) == 0 {
			s.low = s.stock - rnd.Int64N(5)
		}
		for range 1 + rnd.IntN(12) {
			s.steps = append(s.steps, step{byte(rnd.IntN(8)), rnd.Int64N(6)})
		}
		likeOneByOne(t, s)
	}
}

func FuzzCoalesce(f *testing.F) {
	f.Add(int8(9), int8(5), int8(0), byte(12), byte(0), []byte{0, 3, 2, 2, 4, 0, 0, 9, 3, 1})
	f.Add(int8(2), int8(1), int8(0), byte(4), byte(1), []byte{2, 3, 2, 3, 0, 1, 7, 0, 5, 0, 6, 4})
	f.Fuzz(func(t *testing.T, stock, above, below int8, maxBatch, rival byte, bytes []byte) {
		if stock < 0 || maxBatch == 0 || len(bytes) < 2 {
			return // no such script
		}
		s := script{stock: int64(stock), low: -1000, high: 1000, maxBatch: int(maxBatch), rival: int(rival % 8)}
		if above > 0 {
			s.high = s.stock + int64(above)
		}
		if below > 0 {
			s.low = s.stock - int64(below)
		}
		for ; len(bytes) >= 2 && len(s.steps) < 30; bytes = bytes[2:] {
			s.steps = append(s.steps, step{bytes[0], int64(bytes[1] % 16)})
		}
		likeOneByOne(t, s)
	})
}
