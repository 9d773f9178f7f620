package optimistic_test

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/optimistic"
)

// jumpItem is the swap that counts the version up by several.
const jumpItem = `UPDATE "items" SET "stock" = $1, "version" = $2 WHERE "id" = $3 AND "version" = $4` +
	` RETURNING 1 / CASE WHEN "version" IS NOT DISTINCT FROM $2 THEN 1 ELSE 0 END`

func TestCoalesceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		items := openItems(t, s)
		hot := optimistic.Coalesce(items)
		goroutines := func() int { // of this test, and not those that the runtime starts
			synctest.Wait() // those of database/sql end
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			bubble := regexp.MustCompile(`synctest bubble \d+\]`).Find(stacks)
			require.NotEmpty(t, bubble)
			return bytes.Count(stacks, bubble)
		}
		var before int
		_, err := items.Modify(t.Context(), func(*Item) error { before = goroutines(); return nil }, 42)
		require.NoError(t, err)
		item, err := hot.Modify(t.Context(), func(it *Item) error {
			require.Equal(t, before, goroutines())
			return take(it)
		}, 42)
		require.NoError(t, err)
		require.Equal(t, &Item{42, 1, 8}, item)
		require.Equal(t, []string{loadItem, swapItem}, s.statements()[1:], "no more than Modify")
		_, err = hot.Modify(t.Context(), func(*Item) error { return errSoldOut }, 42)
		require.Equal(t, errSoldOut, err)
		_, err = hot.Modify(t.Context(), take, 43)
		require.ErrorIs(t, err, sql.ErrNoRows)
		require.ErrorContains(t, err, "items at [43]")
		require.PanicsWithValue(t, "mine", func() { hot.Modify(t.Context(), func(*Item) error { panic("mine") }, 42) })
		require.Zero(t, hot.Rows())
		require.NoError(t, hot.Close())
	})
}

func TestCoalesceCombines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.rows[42].Stock = 100
		crowd := gather(t, s)
		all := crowd.more(9)
		require.Equal(t, 9, crowd.hot.Waiting())
		crowd.goOn()
		for i, who := range all {
			require.NoError(t, who.err)
			require.Equal(t, &Item{42, int64(99 - i), int64(8 + i)}, who.item, "as its own function left it")
		}
		require.Equal(t, []string{loadItem, jumpItem}, crowd.statements())
		require.Equal(t, Item{42, 91, 16}, s.item(42))
	})
}

func TestCoalesceLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		crowd := gather(t, s)
		sell := func(it *Item) error {
			it.Stock--
			if it.Stock < 0 {
				return errSoldOut
			}
			return nil
		}
		ctx := t.Context()
		spoil := func(f func()) func(*Item) error {
			return func(it *Item) error { it.Stock, it.Version = -99, 99; f(); return errors.New("unused") }
		}
		first := crowd.call(ctx, sell)
		panics := crowd.call(ctx, spoil(func() { panic(http.ErrAbortHandler) }))
		exits := crowd.call(ctx, spoil(runtime.Goexit))
		moves := crowd.call(ctx, func(it *Item) error { it.ID++; return nil })
		looks := crowd.call(ctx, func(it *Item) error { it.Version = 99; return nil })
		second := crowd.call(ctx, sell)
		third := crowd.call(ctx, sell)
		last := crowd.call(ctx, func(*Item) error { return nil })
		crowd.goOn()
		require.Equal(t, &Item{42, 1, 8}, first.item)
		require.Equal(t, http.ErrAbortHandler, panics.panic, "in its own caller")
		require.Nil(t, exits.panic)
		require.Nil(t, exits.item)
		require.NoError(t, exits.err, "it never returned")
		require.EqualError(t, moves.err, `optimistic: items at [42]: the callback changed the key column "id" from 42 to 43`)
		require.Equal(t, &Item{42, 1, 8}, looks.item, "what has changed nothing is no write")
		require.Equal(t, &Item{42, 0, 9}, second.item)
		require.Equal(t, errSoldOut, third.err, "as it is")
		require.Nil(t, third.item)
		require.Equal(t, &Item{42, 0, 9}, last.item)
		require.Equal(t, Item{42, 0, 9}, s.item(42))
		require.Equal(t, []string{loadItem, jumpItem}, crowd.statements())
	})
}

// Functions that leave the item as it was in the end have written it all the same, one by one.
func TestCoalesceThereAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		crowd := gather(t, s)
		crowd.call(t.Context(), take)
		back := crowd.call(t.Context(), func(it *Item) error { it.Stock++; return nil })
		crowd.goOn()
		require.Equal(t, &Item{42, 2, 9}, back.item)
		require.Equal(t, Item{42, 2, 9}, s.item(42))
	})
}

func TestCoalesceWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		crowd := gather(t, s)
		same := crowd.call(t.Context(), func(*Item) error { return nil })
		no := crowd.call(t.Context(), func(it *Item) error { it.Stock = 0; return errSoldOut })
		crowd.goOn()
		require.Equal(t, &Item{42, 2, 7}, same.item)
		require.Equal(t, errSoldOut, no.err)
		require.Equal(t, []string{loadItem}, crowd.statements())
	})
}

// A swap that was lost is made again from the beginning, with all functions but those that never return.
func TestCoalesceLosesAndWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		rivals := 2
		s.before = func(c fakedb.Call) error {
			if c.Query == jumpItem && rivals > 0 {
				rivals--
				s.rival(42)
			}
			return nil
		}
		crowd := gather(t, s)
		all := crowd.more(2)
		panics := crowd.call(t.Context(), func(*Item) error { panic("once") })
		no := crowd.call(t.Context(), func(it *Item) error {
			if it.Stock < 100 {
				return errSoldOut
			}
			return nil
		})
		crowd.goOn()
		require.Equal(t, &Item{42, 201, 10}, all[0].item)
		require.Equal(t, &Item{42, 200, 11}, all[1].item)
		require.Equal(t, &Item{42, 200, 11}, no.item, "it decided again")
		require.Equal(t, []int{3, 3, 1, 3}, []int{all[0].ran, all[1].ran, panics.ran, no.ran})
		require.Equal(t, Item{42, 200, 11}, s.item(42))
	})
}

func TestCoalesceOutcomeUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.before = func(c fakedb.Call) error {
			if c.Query == jumpItem {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		crowd := gather(t, s)
		before := crowd.call(t.Context(), func(*Item) error { return errSoldOut })
		all := crowd.more(2)
		after := crowd.call(t.Context(), func(*Item) error { return errSoldOut })
		crowd.goOn()
		require.Equal(t, errSoldOut, before.err, "it decided from what the row held")
		for _, who := range append(all, after) {
			require.ErrorIs(t, who.err, nogap.ErrOutcomeUnknown)
			require.ErrorContains(t, who.err, "items at [42]")
			require.Nil(t, who.item)
		}
		require.Equal(t, Item{42, 2, 7}, s.item(42))
	})
}

// What the server refuses of a batch, it may take of some of its calls.
func TestCoalesceRefused(t *testing.T) {
	for name, refuse := range map[string]func(stock any) error{
		"by a CHECK":    func(stock any) error { return serverError("23514") },
		"by the driver": func(stock any) error { return errors.New("unable to encode") },
	} {
		bubble(name, t, func(t *testing.T) {
			s := newShop()
			s.before = func(c fakedb.Call) error {
				if strings.HasPrefix(c.Query, "UPDATE") && c.Arg(0).(int64) < 0 {
					return refuse(c.Arg(0))
				}
				return nil
			}
			crowd := gather(t, s)
			all := crowd.more(4)
			panics := crowd.call(t.Context(), func(*Item) error { panic("once") })
			crowd.goOn()
			require.Equal(t, &Item{42, 1, 8}, all[0].item)
			require.Equal(t, &Item{42, 0, 9}, all[1].item)
			for _, who := range all[2:] {
				require.ErrorContains(t, who.err, refuse(nil).Error())
				require.NotErrorIs(t, who.err, nogap.ErrOutcomeUnknown)
			}
			require.Equal(t, 1, panics.ran)
			require.Equal(t, Item{42, 0, 9}, s.item(42))
		})
	}
}

func TestCoalesceErrorsReachAll(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil    func(*shop)
		want     error
		unwanted error
	}{
		"missing row":   {func(s *shop) { s.remove(42) }, sql.ErrNoRows, nogap.ErrOutcomeUnknown},
		"no connection": {func(s *shop) { s.before = func(fakedb.Call) error { return driver.ErrBadConn } }, driver.ErrBadConn, sql.ErrNoRows},
	} {
		bubble(name, t, func(t *testing.T) {
			s := newShop()
			crowd := gather(t, s)
			all := crowd.more(3)
			tt.spoil(s)
			crowd.goOn()
			for _, who := range all {
				require.ErrorIs(t, who.err, tt.want)
				require.NotErrorIs(t, who.err, tt.unwanted)
				require.ErrorContains(t, who.err, "items at [42]")
				require.Zero(t, who.ran)
			}
		})
	}
}

func TestCoalesceContexts(t *testing.T) {
	bubble("ends while the caller waits", t, func(t *testing.T) {
		s := newShop()
		crowd := gather(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		gone := crowd.call(ctx, take)
		stays := crowd.call(t.Context(), take)
		cancel()
		synctest.Wait()
		require.True(t, gone.done.Load(), "at once")
		require.ErrorIs(t, gone.err, context.Canceled)
		crowd.goOn()
		require.Zero(t, gone.ran)
		require.Equal(t, &Item{42, 1, 8}, stays.item)
	})
	bubble("ends before its function runs", t, func(t *testing.T) {
		s := newShop()
		crowd := gather(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		crowd.call(t.Context(), func(it *Item) error { cancel(); return take(it) })
		gone := crowd.call(ctx, take)
		last := crowd.call(t.Context(), take)
		crowd.goOn()
		require.ErrorIs(t, gone.err, context.Canceled)
		require.NotErrorIs(t, gone.err, nogap.ErrOutcomeUnknown)
		require.ErrorContains(t, gone.err, "items at [42]")
		require.Zero(t, gone.ran)
		require.Equal(t, &Item{42, 0, 9}, last.item)
	})
	bubble("ends after its function ran", t, func(t *testing.T) {
		s := newShop()
		ctx, cancel := context.WithCancel(t.Context())
		s.before = func(c fakedb.Call) error {
			if c.Query == jumpItem {
				cancel()
			}
			return nil
		}
		crowd := gather(t, s)
		leads, follows := crowd.call(ctx, take), crowd.call(ctx, take)
		crowd.goOn()
		require.NoError(t, leads.err, "it waits for the outcome")
		require.NoError(t, follows.err)
		require.Equal(t, Item{42, 0, 9}, s.item(42))
	})
}

// A function that does not return holds up nobody for longer than Timeout, except its own caller; and no function runs once
// its caller has the answer.
func TestCoalesceSlowFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		crowd := gather(t, s, optimistic.Timeout(time.Second))
		hang := make(chan struct{})
		leads := crowd.call(t.Context(), take)
		slow := crowd.call(t.Context(), func(*Item) error { <-hang; return nil })
		behind := crowd.call(t.Context(), take)
		close(crowd.release)
		synctest.Wait()
		start := time.Now()
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, time.Second, time.Since(start))
		for _, who := range []*caller{leads, behind} {
			require.True(t, who.done.Load())
			require.ErrorIs(t, who.err, context.DeadlineExceeded)
			require.NotErrorIs(t, who.err, nogap.ErrOutcomeUnknown, "nothing was sent")
		}
		require.False(t, slow.done.Load(), "its function uses what is its caller's")
		item, err := crowd.hot.Modify(t.Context(), take, 42)
		require.NoError(t, err, "the row goes on")
		require.Equal(t, &Item{42, 1, 8}, item)
		close(hang)
		synctest.Wait()
		require.True(t, slow.done.Load())
		require.ErrorIs(t, slow.err, context.DeadlineExceeded)
		require.Zero(t, behind.ran)
	})
}

func TestCoalesceBounds(t *testing.T) {
	bubble("MaxBatch", t, func(t *testing.T) {
		s := newShop()
		crowd := gather(t, s, optimistic.MaxBatch(4))
		all := crowd.more(9)
		crowd.goOn()
		require.Equal(t, []string{loadItem, jumpItem, loadItem, jumpItem, loadItem, swapItem}, crowd.statements())
		require.Equal(t, &Item{42, -7, 16}, all[8].item)
	})
	bubble("MaxWaiting", t, func(t *testing.T) {
		s := newShop()
		crowd := gather(t, s, optimistic.MaxWaiting(2))
		all := crowd.more(3)
		require.ErrorIs(t, all[2].err, optimistic.ErrOverloaded)
		require.EqualError(t, all[2].err, "optimistic: items at [42]: overloaded")
		crowd.goOn()
		require.Equal(t, Item{42, 0, 9}, s.item(42))
	})
	bubble("Close", t, func(t *testing.T) {
		s := newShop()
		crowd := gather(t, s)
		all := crowd.more(2)
		closed := make(chan error)
		go func() { closed <- crowd.hot.Close() }()
		synctest.Wait()
		for _, who := range all {
			require.ErrorIs(t, who.err, optimistic.ErrClosed)
			require.EqualError(t, who.err, "optimistic: items at [42]: closed")
		}
		select {
		case <-closed:
			t.Fatal("a call is under way")
		default:
		}
		close(crowd.release)
		require.NoError(t, <-closed)
		synctest.Wait()
		require.NoError(t, crowd.callers[0].err)
		for _, key := range []any{42, []string{"only the driver knows"}} {
			_, err := crowd.hot.Modify(t.Context(), take, key)
			require.ErrorIs(t, err, optimistic.ErrClosed)
		}
		require.NoError(t, crowd.hot.Close())
	})
}

func TestCoalesceBadInput(t *testing.T) {
	s := newShop()
	items := openItems(t, s)
	tx, err := items.DB().Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	for want, hot := range map[string]*optimistic.Coalescer[Item]{
		"Coalesce: the Table is nil":              optimistic.Coalesce[Item](nil),
		"Coalesce: items: the Table is part of a": optimistic.Coalesce(items.WithTx(tx)),
		"Coalesce: MaxBatch(0) is less than 1":    optimistic.Coalesce(items, optimistic.MaxBatch(0)),
		"Coalesce: MaxWaiting(-1) is less than 1": optimistic.Coalesce(items, optimistic.MaxWaiting(-1)),
		"Coalesce: Timeout(0s) is not positive":   optimistic.Coalesce(items, optimistic.Timeout(0)),
		"Coalesce: option 0 is nil":               optimistic.Coalesce(items, nil),
		"Coalesce: Timeout is given twice":        optimistic.Coalesce(items, optimistic.Timeout(1), optimistic.Timeout(1)),
	} {
		_, err := hot.Modify(t.Context(), take, 42)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, hot.Close(), want)
	}
	hot := optimistic.Coalesce(items)
	for want, call := range map[string]func() (*Item, error){
		"the function that modifies the row is nil": func() (*Item, error) { return hot.Modify(t.Context(), nil, 42) },
		"has one value":    func() (*Item, error) { return hot.Modify(t.Context(), take) },
		"items.id is NULL": func() (*Item, error) { return hot.Modify(t.Context(), take, nil) },
		"must be spread":   func() (*Item, error) { return hot.Modify(t.Context(), take, nogap.Key{42}) },
	} {
		_, err := call()
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, []string{"BEGIN"}, s.statements())
}

// An integer that many writes a second would use up is refused before anything is written, by all methods.
func TestCoalesceNarrowVersion(t *testing.T) {
	s := newShop()
	s.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) { return fakedb.Looked(c, "integer"), nil }
	items := openItems(t, s)
	_, err := items.Modify(t.Context(), take, 42)
	require.NoError(t, err, "good enough for a Table")
	hot := optimistic.Coalesce(items)
	for range 2 {
		_, err = hot.Modify(t.Context(), func(*Item) error { panic("called") }, 42)
		require.ErrorContains(t, err, `optimistic: items: the version column "version" is integer`)
		require.ErrorContains(t, err, "BIGINT")
	}
	type small struct {
		ID      int64           `db:"id"`
		Version sql.Null[int32] `db:"version"`
	}
	require.ErrorContains(t, coalesceOf[small](t), `the field for the version column "version" is a sql.Null[int32]`)
}

// Where a trigger may store another version than the one that is written, and the server can't tell, nothing is combined.
func TestCoalesceMayMiscount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			looked := fakedb.Looked(c, "bigint")
			looked.Rows[0][7] = int64(1) // Look.Rewrites
			return looked, nil
		}
		crowd := gather(t, s)
		all := crowd.more(2)
		crowd.goOn()
		require.ElementsMatch(t, []*Item{{42, 1, 8}, {42, 0, 9}}, []*Item{all[0].item, all[1].item}, "in some order")
		statements := slices.Sorted(slices.Values(crowd.statements()))
		if len(statements) == 4 {
			require.Equal(t, []string{loadItem, loadItem, swapItem, swapItem}, statements)
		} else { // both loaded before either wrote, and one of them did it again
			require.Equal(t, []string{loadItem, loadItem, loadItem, swapItem, swapItem, swapItem}, statements)
		}
	})
}

func TestCoalesceRefusedInCallback(t *testing.T) {
	s := newShop()
	s.rows[43] = &Item{43, 2, 7}
	db := s.DB()
	items, err := optimistic.NewTable[Item](db, "items")
	require.NoError(t, err)
	hot := optimistic.Coalesce(items)
	ctx, _, end := inCallback(t, db, nogap.Postgres, 42)
	_, err = hot.Modify(ctx, take, 42)
	require.EqualError(t, err, "optimistic: items at [42]: "+holding.ErrHeld.Error())
	require.Equal(t, []string{"BEGIN"}, s.Log(), "nothing was sent")
	_, err = hot.Modify(ctx, take, 43)
	require.NoError(t, err, "another row")
	end()
	_, err = hot.Modify(ctx, take, 42)
	require.NoError(t, err, "the callback is over")
}

// Each caller is seen, with its own outcome.
func TestCoalesceObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		items := openItems(t, s)
		w := new(watcher)
		defer nogap.Observe(items.DB(), w)()
		crowd := gatherAt(t, s, items)
		crowd.more(2)
		crowd.call(t.Context(), func(*Item) error { return nogap.ErrOutcomeUnknown })
		time.Sleep(time.Millisecond)
		crowd.goOn()
		results := map[nogap.Result]int{}
		for _, r := range w.ends {
			results[r]++
		}
		require.Equal(t, map[nogap.Result]int{
			{Outcome: nogap.OutcomeOK, Attempts: 1, Batch: 1}:                                                                            1,
			{Outcome: nogap.OutcomeOK, Attempts: 1, Batch: 3, Waited: time.Millisecond}:                                                  2,
			{Outcome: nogap.OutcomeError, Attempts: 1, Batch: 3, Waited: time.Millisecond, Err: nogap.ErrOutcomeUnknown, Callback: true}: 1,
		}, results)
		require.Equal(t, nogap.Operation{Name: "optimistic.Modify", Table: "items"}, w.ops[0])
	})
}
