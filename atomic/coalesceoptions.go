package atomic

import (
	"fmt"
	"slices"
	"time"

	"github.com/nogap-go/nogap/internal/combine"
)

// CoalesceOption changes the bounds of a Coalescer. One that is invalid, or given twice, is an error that every method of
// the Coalescer returns.
type CoalesceOption interface {
	applyCoalesce(*combine.Bounds) error
	option() string // its name
}

type boundOption struct {
	name string
	set  func(*combine.Bounds) error
}

func (o boundOption) applyCoalesce(b *combine.Bounds) error { return o.set(b) }
func (o boundOption) option() string                        { return o.name }

// MaxBatch bounds how many calls are merged into one statement: 1000 unless set.
func MaxBatch(n int) CoalesceOption {
	return boundOption{"MaxBatch", func(b *combine.Bounds) error {
		b.MaxBatch = n
		return atLeastOne("MaxBatch", n)
	}}
}

// MaxWaiting bounds how many callers wait for one row, besides those whose statement is under way: 10 000 unless set.
// Further ones get ErrOverloaded at once.
func MaxWaiting(n int) CoalesceOption {
	return boundOption{"MaxWaiting", func(b *combine.Bounds) error {
		b.MaxWaiting = n
		return atLeastOne("MaxWaiting", n)
	}}
}

// Timeout bounds how long a batch takes, waiting for a connection included: 5 seconds unless set. A caller that makes its
// call on the Counter, since it found nobody at its row, has its own context's time.
func Timeout(d time.Duration) CoalesceOption {
	return boundOption{"Timeout", func(b *combine.Bounds) error {
		b.Timeout = d
		if d <= 0 {
			return fmt.Errorf("Timeout(%v) is not positive", d)
		}
		return nil
	}}
}

func atLeastOne(option string, n int) error {
	if n < 1 {
		return fmt.Errorf("%s(%d) is less than 1", option, n)
	}
	return nil
}

func newBounds(opts []CoalesceOption) (combine.Bounds, error) {
	b := combine.Bounds{MaxBatch: 1000, MaxWaiting: 10_000, Timeout: 5 * time.Second}
	var given []string
	for i, opt := range opts {
		if opt == nil {
			return b, fmt.Errorf("option %d is nil", i)
		}
		if slices.Contains(given, opt.option()) {
			return b, fmt.Errorf("%s is given twice", opt.option())
		}
		given = append(given, opt.option())
		if err := opt.applyCoalesce(&b); err != nil {
			return b, err
		}
	}
	return b, nil
}
