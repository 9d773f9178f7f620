//go:build unix

package optimistic_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
)

var errSoldOut = errors.New("sold out")

// row is the state of the model: what one caller at a time would be told.
type row struct{ stock, version int64 }

// told is what a caller was told.
type told struct {
	row
	declined bool
	unknown  bool // applied or not, or declined
}

const historyStart = 6

// ruled is the model of a row on which a function adds a number, if the stock does not become negative.
var ruled = porcupine.NondeterministicModel{
	Init: func() []any { return []any{row{historyStart, 0}} },
	Step: func(state, input, output any) []any {
		was, n, out := state.(row), input.(int64), output.(told)
		next := row{was.stock + n, was.version + 1}
		if n == 0 { // no write
			next = was
		}
		switch {
		case next.stock < 0 && (out.unknown || out.declined):
			return []any{was}
		case next.stock < 0 || out.declined:
			return nil
		case out.unknown:
			return []any{was, next}
		case out.row == next:
			return []any{next}
		}
		return nil
	},
}

// modifier is a Coalescer or a Table.
type modifier interface {
	Modify(ctx context.Context, fn func(*counterRow) error, key ...any) (*counterRow, error)
}

// history lets callers make calls at random, some of which are cancelled, and records who was told what, and when.
func history(t *testing.T, callers, rounds int, process func(caller int) modifier) []porcupine.Operation {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var operations []porcupine.Operation
	concurrent.Run(t, callers, func(i int) error {
		rnd := rand.New(rand.NewPCG(uint64(i), 11))
		for range rounds {
			n := rnd.Int64N(7) - 4
			ctx, cancel := context.WithCancel(t.Context())
			if rnd.IntN(6) == 0 {
				ctx, cancel = context.WithTimeout(t.Context(), time.Duration(rnd.IntN(2000))*time.Microsecond)
			}
			call := time.Since(began)
			item, err := process(i).Modify(ctx, func(r *counterRow) error {
				r.Stock += n
				if r.Stock < 0 {
					return errSoldOut
				}
				return nil
			}, "north", 1)
			back, stopped := time.Since(began), ctx.Err()
			cancel()
			var out told
			switch {
			case err == nil:
				out.row = row{item.Stock, item.Version}
			case errors.Is(err, nogap.ErrOutcomeUnknown):
				out.unknown = true
				back = time.Hour // it may be applied at any time to come
			case errors.Is(err, errSoldOut):
				out.declined = true
			case stopped != nil && errors.Is(err, stopped):
				continue // it took no part
			default:
				return err
			}
			mu.Lock()
			operations = append(operations, porcupine.Operation{ClientId: i, Input: n, Call: int64(call), Output: out, Return: int64(back)})
			mu.Unlock()
		}
		return nil
	})
	return operations
}

func isLinearizable(t *testing.T, operations []porcupine.Operation) bool {
	t.Helper()
	result := porcupine.CheckOperationsTimeout(ruled.ToModel(), operations, 5*time.Minute)
	require.NotEqual(t, porcupine.Unknown, result, "the history is too long for the checker")
	return result == porcupine.Ok
}

// Two processes with a Coalescer each, and one with the plain Table.
func TestCoalesceHistory(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		create(t, db, counterColumn)
		items := must(optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku"), optimistic.LockAfter(2)))
		processes := []modifier{coalescer(t, db), coalescer(t, target.Connect(t, dsn)), optimistic.Coalesce(items), items}
		for range 2 {
			exec(t, db, "UPDATE items SET stock = 6, version = 0")
			operations := history(t, 12, 10, func(caller int) modifier { return processes[caller%len(processes)] })
			require.True(t, isLinearizable(t, operations))
		}
	})
}

// The same on connections that are cut.
func TestCoalesceHistoryOnBadConnections(t *testing.T) {
	matrix.Run(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
		proxy, direct, bad := broken(t, target, counterColumn)
		bad.SetMaxIdleConns(0) // one that was cut is not to be closed at the end
		good, hot := coalescer(t, direct), coalescer(t, bad)
		exec(t, direct, "UPDATE items SET stock = 6")
		var cutter sync.WaitGroup
		cutter.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for range 30 {
				<-tick.C
				proxy.Cut()
			}
		})
		operations := history(t, 8, 10, func(caller int) modifier {
			if caller%4 == 0 {
				return good
			}
			return retried{hot}
		})
		cutter.Wait()
		require.True(t, isLinearizable(t, operations))
	})
}

// retried makes a call again that certainly wrote nothing, as a caller would.
type retried struct{ modifier }

func (r retried) Modify(ctx context.Context, fn func(*counterRow) error, key ...any) (*counterRow, error) {
	for {
		item, err := r.modifier.Modify(ctx, fn, key...)
		if err == nil || errors.Is(err, errSoldOut) || errors.Is(err, nogap.ErrOutcomeUnknown) || ctx.Err() != nil {
			return item, err
		}
	}
}

// The same check sees what is wrong with one that decides on what it has read a moment before.
func TestHistoryFindsALostUpdate(t *testing.T) {
	matrix.Run(t, matrix.Postgres()[:1], func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		create(t, db, counterColumn)
		items := must(optimistic.NewTable[counterRow](db, "items", optimistic.WithKey("shop", "sku")))
		for range 20 {
			exec(t, db, "UPDATE items SET stock = 6, version = 0")
			if !isLinearizable(t, history(t, 8, 10, func(int) modifier { return gappy{items} })) {
				return
			}
		}
		t.Fatal("the histories of what loses updates were all linearizable")
	})
}

// gappy writes whatever the version is.
type gappy struct{ items *optimistic.Table[counterRow] }

func (g gappy) Modify(ctx context.Context, fn func(*counterRow) error, key ...any) (*counterRow, error) {
	ctx = context.WithoutCancel(ctx)
	item, err := g.items.Get(ctx, key...)
	if err != nil {
		return nil, err
	}
	if err := fn(item); err != nil {
		return nil, err
	}
	for {
		err := g.items.Update(ctx, item)
		if !errors.Is(err, optimistic.ErrVersionConflict) {
			return item, err
		}
		now, err := g.items.Get(ctx, key...)
		if err != nil {
			return nil, err
		}
		item.Version = now.Version
	}
}
