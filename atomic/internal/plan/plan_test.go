package plan_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic/internal/plan"
)

func TestLevels(t *testing.T) {
	require.Less(t, plan.Of(int8(-1)), plan.Of(int8(0)))
	require.Equal(t, plan.Of(int8(-128)), plan.Of(int64(-128)))
	require.Equal(t, plan.Zero[int]()+7, plan.Of(7))
	require.Equal(t, plan.Zero[uint]()+7, plan.Of(uint(7)))
	roundTrip[int8](t, math.MinInt8, -1, 0, 1, math.MaxInt8)
	roundTrip[int64](t, math.MinInt64, -1, 0, 1, math.MaxInt64)
	roundTrip[uint16](t, 0, 1, math.MaxUint16)
	roundTrip[uint64](t, 0, 1, math.MaxInt64+1, math.MaxUint64)
	for _, n := range []int64{-129, 128, math.MaxInt64} {
		_, err := plan.To[int8](plan.Of(n))
		require.ErrorContains(t, err, "does not fit int8")
	}
	_, err := plan.To[uint8](plan.Of(uint64(256)))
	require.EqualError(t, err, "the new value 256 does not fit uint8")
}

func roundTrip[N plan.Integer](t *testing.T, values ...N) {
	t.Helper()
	for _, n := range values {
		back, err := plan.To[N](plan.Of(n))
		require.NoError(t, err)
		require.Equal(t, n, back)
	}
}

func TestScale(t *testing.T) {
	small := plan.ScaleOf[int8](true, false)
	require.Equal(t, plan.Span{Low: plan.Of(int8(-128)), High: plan.Of(int8(127))}, small.Span)
	require.Equal(t, int64(-3), small.Param(plan.Of(int8(-3))))
	for _, signed := range []bool{true, false} {
		require.Equal(t, plan.Level(math.MaxUint32), plan.ScaleOf[uint32](signed, false).High)
	}
	require.Equal(t, plan.Level(math.MaxInt64), plan.ScaleOf[uint64](false, false).High, "no server but MySQL has more")
	large := plan.ScaleOf[uint64](false, true)
	require.Equal(t, plan.Level(math.MaxUint64), large.High)
	require.Equal(t, uint64(math.MaxUint64), large.Param(large.High))
}

// call makes a call at level x, as the Counter does.
func call(c *plan.Call, x int64) (granted bool, after int64) {
	n, _ := plan.To[int64](c.N)
	limit, _ := plan.To[int64](c.Limit)
	switch {
	case c.Op == plan.Decrement:
		n, granted = -n, x >= n
	case c.Op == plan.Increment:
		granted = true
	default:
		granted = x+n <= limit
	}
	if granted {
		x += n
	}
	return granted, x
}

func randomCalls() []*plan.Call {
	calls := make([]*plan.Call, 1+rand.IntN(8))
	for i := range calls {
		calls[i] = &plan.Call{
			Op: plan.Op(rand.IntN(3)), N: plan.Of(rand.Int64N(20)), Limit: plan.Of(rand.Int64N(60) - 10),
		}
	}
	return calls
}

// A plan is right for every level that its From has, and From is as wide as it can be.
func TestPlanIsRightForItsSpan(t *testing.T) {
	scale := plan.ScaleOf[int64](true, false)
	outcomes := func(calls []*plan.Call, x int64) (granted []bool, end int64) {
		for _, c := range calls {
			var ok bool
			ok, x = call(c, x)
			granted = append(granted, ok)
		}
		return granted, x
	}
	planned := 0
	for range 5000 {
		calls := randomCalls()
		start := rand.Int64N(60) - 10
		var known plan.Known
		known.Learn(plan.Of(int64(-1000)))
		known.Learn(plan.Of(int64(1000)))
		known.Learn(plan.Of(start))
		p := scale.Make(calls, known)
		require.Equal(t, len(calls), p.Calls)
		require.Equal(t, plan.Of(start), p.Start)
		want := make([]bool, len(calls))
		for i, c := range calls {
			want[i] = c.Granted
		}
		by := int64(p.By)
		if p.Down {
			by = -by
		}
		for x := int64(-30); x < 100; x++ {
			granted, end := outcomes(calls, x)
			l := plan.Of(x)
			if l < p.From.Low || l > p.From.High {
				if x >= -30+1 && (l == p.From.Low-1 || l == p.From.High+1) {
					require.NotEqual(t, want, granted, "from %d it would be right, too", x)
				}
				continue
			}
			planned++
			require.Equal(t, want, granted, "from %d", x)
			require.Equal(t, x+by, end, "from %d", x)
		}
	}
	require.NotZero(t, planned)
}

// If nothing is known, the plan grants all, and asks for no more than that takes.
func TestPlanOnNothing(t *testing.T) {
	scale := plan.ScaleOf[int64](true, false)
	for range 5000 {
		calls := randomCalls()
		for _, c := range calls {
			c.Limit = plan.Of(int64(1 << 40))
		}
		p := scale.Make(calls, plan.Known{})
		require.NotZero(t, p.Calls)
		for _, c := range calls[:p.Calls] {
			require.True(t, c.Granted)
		}
	}
}

// What the column may not be able to hold on the way ends the plan, so that the server is asked.
func TestPlanEndsAtAPeak(t *testing.T) {
	scale := plan.ScaleOf[int64](true, false)
	calls := []*plan.Call{
		{Op: plan.Increment, N: plan.Of(int64(10))}, {Op: plan.Decrement, N: plan.Of(int64(10))},
	}
	var known plan.Known
	known.Learn(plan.Of(int64(5)))
	p := scale.Make(calls, known)
	require.Equal(t, 1, p.Calls)
	require.EqualValues(t, 10, p.By)

	known.Learn(plan.Of(int64(15)))
	known.Learn(plan.Of(int64(5)))
	p = scale.Make(calls, known)
	require.Equal(t, 2, p.Calls, "it has held that much")
	require.Zero(t, p.By)

	p.Shift(calls, plan.Of(int64(3)))
	require.Equal(t, []plan.Level{plan.Of(int64(13)), plan.Of(int64(3))}, []plan.Level{calls[0].Level, calls[1].Level})
}

// A plan for nothing: the first call's sum is beyond the type.
func TestNoPlan(t *testing.T) {
	scale := plan.ScaleOf[int8](true, false)
	var known plan.Known
	known.Learn(plan.Of(int8(120)))
	p := scale.Make([]*plan.Call{{Op: plan.Increment, N: plan.Of(int8(8))}}, known)
	require.Zero(t, p.Calls)
	known.Learn(plan.Of(int64(1000)))
	p = scale.Make([]*plan.Call{{Op: plan.Decrement, N: plan.Of(int8(8))}}, known)
	require.Zero(t, p.Calls, "the row holds what N does not")
}
