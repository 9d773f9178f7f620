package plan

import (
	"fmt"
	"math"
	"unsafe"
)

// Integer is what can be summed up exactly.
type Integer interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// Level is an integer on a scale that signed and unsigned types share, so that the sums of a batch are worked out in
// one way: levels compare as the integers do, and a difference of two is a uint64.
type Level uint64

const signedZero Level = 1 << 63

// Zero returns the level of 0.
func Zero[N Integer]() Level {
	if N(0)-1 < 0 {
		return signedZero
	}
	return 0
}

// Of returns the level of n.
func Of[N Integer](n N) Level { return Level(n) + Zero[N]() }

// To returns the integer at l, or an error if N has no such integer.
func To[N Integer](l Level) (N, error) {
	n := N(l - Zero[N]())
	if Of(n) != l {
		return 0, fmt.Errorf("the new value %d does not fit %T", int64(l-Zero[N]()), n)
	}
	return n, nil
}

// Span is all levels from one to another.
type Span struct{ Low, High Level }

func (s Span) with(l Level) Span { return Span{min(s.Low, l), max(s.High, l)} }

// Scale is the part of the levels that an integer type has.
type Scale struct {
	signed bool
	Zero   Level
	Span
}

// ScaleOf returns the scale of N. signed says that its values are bound as an int64, and not as a uint64; beyond, that
// the server has integers that no int64 holds.
func ScaleOf[N Integer](signed, beyond bool) Scale {
	bits := 8 * unsafe.Sizeof(N(0))
	if zero := Zero[N](); zero == signedZero {
		half := Level(1) << (bits - 1)
		return Scale{signed, zero, Span{zero - half, zero + (half - 1)}}
	}
	most := Level(math.MaxUint64) >> (64 - bits)
	if !beyond {
		most = min(most, math.MaxInt64)
	}
	return Scale{signed, 0, Span{0, most}}
}

// Param returns a level as a bound parameter.
func (s Scale) Param(l Level) any {
	if s.signed {
		return int64(l - s.Zero)
	}
	return uint64(l)
}
