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

// MaxBatch bounds how many calls are merged into one statement: 1000 unless it is given.
func MaxBatch(n int) CoalesceOption { return boundOption(combine.MaxBatch(n)) }

// MaxWaiting bounds how many callers wait for one row: 10 000 unless it is given. The callers whose statement is
// under way do not count. Further callers get ErrOverloaded at once.
func MaxWaiting(n int) CoalesceOption { return boundOption(combine.MaxWaiting(n)) }

// Timeout bounds how long a batch takes, including the wait for a connection: 5 seconds unless it is given. A row that
// has waited for so long for the transaction that it is to share gets a statement of its own. Timeout does not bound
// a call that is made on the Counter, because the caller found nobody at its row and few rows were under way. Only the
// caller's own context does.
func Timeout(d time.Duration) CoalesceOption { return boundOption(combine.Timeout(d)) }

func newBounds(opts []CoalesceOption) (combine.Bounds, error) {
	b := combine.DefaultBounds
	_, err := option.Apply(&b, opts, CoalesceOption.coalesceOption)
	return b, err
}
