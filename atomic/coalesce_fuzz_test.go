package atomic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/internal/fakedb"
)

const outOfRange = sqlState("22003")

// request is a call of a Coalescer.
type request struct {
	op       byte
	n, limit int64
}

func (r request) call(ctx context.Context, c *atomic.Coalescer[int64]) (int64, error) {
	switch r.op {
	case 0:
		return c.DecrementIfPositive(ctx, "sku-1")
	case 1:
		return c.Decrement(ctx, r.n, "sku-1")
	case 2:
		return c.Increment(ctx, r.n, "sku-1")
	default:
		return c.IncrementUpTo(ctx, r.n, r.limit, "sku-1")
	}
}

// result is what a call returned.
type result struct {
	value   int64
	err     error // one of the package's own, or nil
	refused bool  // inside a *RefusedError
}

func resultOf(v int64, err error) result {
	var refused *atomic.RefusedError
	r := result{value: v, refused: errors.As(err, &refused)}
	for _, known := range []error{nogap.ErrOutcomeUnknown, atomic.ErrInsufficient, atomic.ErrLimit, outOfRange} {
		if errors.Is(err, known) {
			r.err = known
			return r
		}
	}
	r.err = err
	return r
}

// apply is one call on a value that must stay between low and high, as the Counter makes it.
func (r request) apply(value *int64, low, high int64) result {
	n := r.n
	if r.op == 0 {
		n = 1
	}
	if r.op < 2 {
		switch {
		case *value < n:
			return result{*value, atomic.ErrInsufficient, true}
		case *value-n < low:
			return result{0, outOfRange, false}
		}
		*value -= n
		return result{value: *value}
	}
	switch {
	case *value > math.MaxInt64-n:
		return result{0, atomic.ErrLimit, false}
	case r.op == 3 && *value+n > r.limit:
		return result{*value, atomic.ErrLimit, true}
	case *value+n > high:
		return result{0, atomic.ErrLimit, false}
	}
	*value += n
	return result{value: *value}
}

// scenario is a batch, and the row that it meets.
type scenario struct {
	start, low, high int64 // the column takes low to high
	maxBatch         int
	// Somebody else sets the row to other just before statement number when; nobody does if that is 0.
	when  int
	other int64
	// The statement of the first caller is lost, so the batch knows nothing.
	lost     bool
	requests []request
}

// likeOneByOne compares what the callers of a batch get, and what is left, with the calls made one by one.
func likeOneByOne(t *testing.T, s scenario) {
	t.Helper()
	if first := s.requests[0]; first.op != 0 && first.n == 0 {
		s.lost = false // nothing but a look at the row, which is done again
	}
	row := smallint(s.start)
	row.low, row.high = s.low, s.high
	got := inOneBatch(t, row, s)
	left := row.get()
	var explanations []string
	for change := range len(s.requests) + 2 { // before which of the calls the other's came
		value := s.start
		want := make([]result, len(s.requests))
		for i, r := range s.requests {
			if s.when > 0 && i == change {
				value = s.other
			}
			if s.lost && i == 0 {
				want[i] = result{err: nogap.ErrOutcomeUnknown}
			} else {
				want[i] = r.apply(&value, s.low, s.high)
			}
		}
		if s.when > 0 && change == len(s.requests) {
			value = s.other
		}
		if value == left && slices.Equal(want, got) {
			return
		}
		explanations = append(explanations, fmt.Sprintf("%+v, %d left", want, value))
		if s.when == 0 {
			break
		}
	}
	t.Fatalf("%+v\n got %+v, %d left\nwant %s", s, got, left, strings.Join(explanations, "\n  or "))
}

func TestLikeOneByOne(t *testing.T) {
	const least, most = math.MinInt64, math.MaxInt64
	for _, s := range []scenario{
		// Together the amounts are more than a parameter holds.
		{start: -3, low: least, high: most, requests: []request{{2, 1, 0}, {2, most, 0}, {2, 2, 0}, {0, 0, 0}}},
		// With what the other adds, the limit is out of the range in which the server counts.
		{
			start: most - 9, low: least, high: most, when: 2, other: most - 3,
			requests: []request{{2, 1, 0}, {2, 1, 0}, {3, 5, most - 8}, {2, 1, 0}},
		},
	} {
		likeOneByOne(t, s)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	edges := []int64{0, 1, 2, math.MaxInt64 - 1, math.MaxInt64}
	number := func(most int64) int64 {
		if rnd.IntN(20) == 0 {
			return edges[rnd.IntN(len(edges))]
		}
		return rnd.Int64N(most)
	}
	for range 3000 {
		s := scenario{start: rnd.Int64N(20) - 5, low: math.MinInt64, high: math.MaxInt64, maxBatch: rnd.IntN(12)}
		if rnd.IntN(2) == 0 {
			s.low = s.start - rnd.Int64N(10)
		}
		switch rnd.IntN(4) {
		case 0:
			s.start += math.MaxInt64 - 20
		case 1, 2:
			s.high = s.start + rnd.Int64N(20)
		}
		if rnd.IntN(2) == 0 {
			s.when = 1 + rnd.IntN(6)
			s.other = s.start + rnd.Int64N(20) - 10
			s.other = max(s.low, min(s.other, s.high))
		}
		s.lost = rnd.IntN(3) == 0
		for range 1 + rnd.IntN(12) {
			s.requests = append(s.requests, request{byte(rnd.IntN(4)), number(8), s.start + rnd.Int64N(12) - 4})
		}
		likeOneByOne(t, s)
	}
}

func FuzzCoalesce(f *testing.F) {
	f.Add(int16(5), int16(9), int16(3), byte(0), byte(0), false, int16(0), []byte{0, 3, 0, 1, 3, 0, 1, 1, 0})
	f.Add(int16(100), int16(9), int16(120), byte(3), byte(0), true, int16(0), []byte{2, 15, 0, 2, 15, 0, 1, 15, 0, 3, 9, 110})
	f.Add(int16(0), int16(0), int16(50), byte(0), byte(2), false, int16(40), []byte{1, 9, 0, 1, 9, 0, 2, 7, 0, 1, 9, 0, 3, 60, 51})
	f.Add(int16(3), int16(2), int16(-1), byte(0), byte(3), false, int16(0), []byte{1, 3, 0, 0, 0, 0, 2, 250, 0, 3, 250, 250, 2, 251, 0, 1, 250, 0})
	f.Fuzz(func(t *testing.T, start, below, above int16, maxBatch, when byte, lost bool, other int16, script []byte) {
		s := scenario{
			start: int64(start), low: int64(start) - int64(below), high: int64(start) + int64(above),
			maxBatch: int(maxBatch), when: int(when), lost: lost, other: int64(other),
		}
		if below < 0 {
			s.low = math.MinInt64
		}
		if above < 0 {
			s.high = math.MaxInt64
		}
		for ; len(script) >= 3 && len(s.requests) < 40; script = script[3:] {
			s.requests = append(s.requests, request{script[0] % 4, amount(script[1]), amount(script[2])})
		}
		if s.other < s.low || s.other > s.high || len(s.requests) == 0 {
			return // no such script
		}
		likeOneByOne(t, s)
	})
}

// amount makes big ones of the largest bytes.
func amount(b byte) int64 {
	if b >= 250 {
		return math.MaxInt64 - int64(255-b)*1000
	}
	return int64(b)
}

// inOneBatch makes all requests while the statement of the first is held up, so the others arrive in order, and go
// together.
func inOneBatch(t *testing.T, row *fakeRow, s scenario) []result {
	results := make([]result, len(s.requests))
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		statement := 0
		row.before = func(context.Context, fakedb.Call) error {
			<-release
			if statement++; statement == s.when {
				row.set(s.other)
			}
			if s.lost && statement == 1 {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		var opts []atomic.CoalesceOption
		if s.maxBatch > 0 {
			opts = append(opts, atomic.MaxBatch(s.maxBatch))
		}
		c := coalesce[int64](t, row.handle, opts...)
		for i, r := range s.requests {
			go func() { results[i] = resultOf(r.call(context.Background(), c)) }()
			synctest.Wait()
		}
		close(release)
		synctest.Wait()
		require.Zero(t, c.Rows())
	})
	return results
}
