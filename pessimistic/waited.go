package pessimistic

import (
	"time"

	"github.com/nogap-go/nogap/internal/observe"
)

// waited is how long a call has waited for locks, in this process and in all its transactions. The time of a statement that
// takes a lock counts as a whole.
type waited struct {
	total time.Duration
	op    *observe.Op // which is told, too
}

// since adds the time since start, and returns it.
func (w *waited) since(start time.Time) time.Duration {
	took := time.Since(start)
	w.total += took
	w.op.Waited(took)
	return took
}
