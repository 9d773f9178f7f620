//go:build unix

package atomic_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// asked is a call, for the model.
type asked struct {
	n     int64 // taken if negative
	limit int64 // of what is added; -1 is none
}

// told is what its caller was told.
type told struct {
	value   int64
	refused bool
	unknown bool // applied or not
}

// boundedCounter is the model of a counter: what one caller at a time would be told.
var boundedCounter = porcupine.NondeterministicModel{
	Init: func() []any { return []any{int64(historyStart)} },
	Step: func(state, input, output any) []any {
		value, in, out := state.(int64), input.(asked), output.(told)
		fits := value+in.n >= 0 && (in.limit < 0 || value+in.n <= in.limit)
		switch {
		case out.unknown && fits:
			return []any{value, value + in.n}
		case out.unknown:
			return []any{value}
		case out.refused && !fits && out.value == value:
			return []any{value}
		case !out.refused && fits && out.value == value+in.n:
			return []any{value + in.n}
		}
		return nil
	},
}

const historyStart = 6

// counting is what a Coalescer and its imitation have in common.
type counting interface {
	Decrement(ctx context.Context, n int64, key ...any) (int64, error)
	Increment(ctx context.Context, n int64, key ...any) (int64, error)
	IncrementUpTo(ctx context.Context, n, limit int64, key ...any) (int64, error)
}

// history lets callers make calls at random and records who was told what, and when.
func history(t *testing.T, callers, rounds int, counter func(caller int) counting) []porcupine.Operation {
	t.Helper()
	began := time.Now()
	var mu sync.Mutex
	var operations []porcupine.Operation
	together(callers, func(i int) {
		c := counter(i)
		rnd := rand.New(rand.NewPCG(uint64(i), 11))
		for range rounds {
			in := asked{n: 1 + rnd.Int64N(4), limit: -1}
			call := time.Since(began)
			var v int64
			var err error
			switch rnd.IntN(5) {
			case 0:
				v, err = c.Increment(context.Background(), in.n, "sku-1")
			case 1:
				in.limit = 3 + rnd.Int64N(5)
				v, err = c.IncrementUpTo(context.Background(), in.n, in.limit, "sku-1")
			default:
				v, err = c.Decrement(context.Background(), in.n, "sku-1")
				in.n = -in.n
			}
			out := told{value: v, refused: errors.Is(err, atomic.ErrInsufficient) || errors.Is(err, atomic.ErrLimit)}
			back := time.Since(began)
			switch {
			case errors.Is(err, nogap.ErrOutcomeUnknown):
				out = told{unknown: true}
				back = time.Hour // it may be applied at any time to come
			case err != nil && !out.refused:
				t.Error(err)
			}
			mu.Lock()
			operations = append(operations, porcupine.Operation{
				ClientId: i, Input: in, Call: int64(call), Output: out, Return: int64(back),
			})
			mu.Unlock()
		}
	})
	return operations
}

func isLinearizable(t *testing.T, operations []porcupine.Operation) bool {
	t.Helper()
	result := porcupine.CheckOperationsTimeout(boundedCounter.ToModel(), operations, 5*time.Minute)
	require.NotEqual(t, porcupine.Unknown, result, "the history is too long for the checker")
	return result == porcupine.Ok
}

// Two processes with a Coalescer each, and one with the plain Counter.
func TestCoalescerHistory(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		db := target.Connect(t, dsn)
		createItems(t, db, "BIGINT")
		processes := []counting{
			coalescer(t, db), coalescer(t, target.Connect(t, dsn)), coalescer(t, db), newStock[int64](t, db),
		}
		for range 3 {
			setStock(t, db, historyStart)
			operations := history(t, 16, 12, func(caller int) counting { return processes[caller%len(processes)] })
			require.True(t, isLinearizable(t, operations))
		}
	})
}

// The same check sees what is wrong with a Coalescer that decides on what it has read a moment before.
func TestHistoryFindsABrokenCoalescer(t *testing.T) {
	matrix.Run(t, matrix.Postgres()[:1], func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		for range 20 {
			setStock(t, db, historyStart)
			if !isLinearizable(t, history(t, 16, 12, func(int) counting { return &gappy{db} })) {
				return
			}
		}
		t.Fatal("the histories of a broken counter were all linearizable")
	})
}

// gappy reads, decides and writes.
type gappy struct{ db *sql.DB }

func (g *gappy) change(ctx context.Context, n, limit int64) (int64, error) {
	var v int64
	if err := g.db.QueryRowContext(ctx, "SELECT stock FROM items WHERE id = 'sku-1'").Scan(&v); err != nil {
		return 0, err
	}
	if v+n < 0 {
		return v, atomic.ErrInsufficient
	}
	if limit >= 0 && v+n > limit {
		return v, atomic.ErrLimit
	}
	return v + n, g.db.QueryRowContext(ctx,
		fmt.Sprintf("UPDATE items SET stock = stock + %d WHERE id = 'sku-1' RETURNING 1", n)).Scan(new(int))
}

func (g *gappy) Decrement(ctx context.Context, n int64, _ ...any) (int64, error) {
	return g.change(ctx, -n, -1)
}
func (g *gappy) Increment(ctx context.Context, n int64, _ ...any) (int64, error) {
	return g.change(ctx, n, -1)
}
func (g *gappy) IncrementUpTo(ctx context.Context, n, limit int64, _ ...any) (int64, error) {
	return g.change(ctx, n, limit)
}
