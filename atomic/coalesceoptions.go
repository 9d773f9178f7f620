package atomic

import (
	"time"

	"github.com/nogap-go/nogap/internal/combine"
	"github.com/nogap-go/nogap/internal/option"
)

// CoalesceOption changes the bounds of a Coalescer. One that is invalid, or given twice, is an error that every method of
// the Coalescer returns.
type CoalesceOption interface {
	coalesceOption() option.Option[combine.Bounds]
}

type boundOption option.Option[combine.Bounds]

func (o boundOption) coalesceOption() option.Option[combine.Bounds] {
	return option.Option[combine.Bounds](o)
}

// MaxBatch bounds how many calls are merged into one statement: 1000 unless set.
func MaxBatch(n int) CoalesceOption {
	return boundOption{Name: "MaxBatch", Set: func(b *combine.Bounds) error {
		b.MaxBatch = n
		return option.AtLeastOne("MaxBatch", n)
	}}
}

// MaxWaiting bounds how many callers wait for one row, besides those whose statement is under way: 10 000 unless set.
// Further ones get ErrOverloaded at once.
func MaxWaiting(n int) CoalesceOption {
	return boundOption{Name: "MaxWaiting", Set: func(b *combine.Bounds) error {
		b.MaxWaiting = n
		return option.AtLeastOne("MaxWaiting", n)
	}}
}

// Timeout bounds how long a batch takes, waiting for a connection included: 5 seconds unless set. A caller that makes its
// call on the Counter, since it found nobody at its row, has its own context's time.
func Timeout(d time.Duration) CoalesceOption {
	return boundOption{Name: "Timeout", Set: func(b *combine.Bounds) error {
		b.Timeout = d
		return option.Positive("Timeout", d)
	}}
}

func newBounds(opts []CoalesceOption) (combine.Bounds, error) {
	b := combine.Bounds{MaxBatch: 1000, MaxWaiting: 10_000, Timeout: 5 * time.Second}
	_, err := option.Apply(&b, opts, CoalesceOption.coalesceOption)
	return b, err
}
