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

// inProcess adds the time since start, which was spent without a connection.
func (w *waited) inProcess(start time.Time) {
	took := time.Since(start)
	w.total += took
	w.op.Waited(took)
}

// inServer adds the time since start, and returns it.
func (w *waited) inServer(start time.Time) time.Duration {
	took := time.Since(start)
	w.total += took
	w.op.WaitedInServer(took)
	return took
}
