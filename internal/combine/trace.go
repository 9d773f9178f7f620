package combine

import (
	"time"

	"github.com/nogap-go/nogap/internal/observe"
)

// Trace is how a call was made, for those who observe it. The calls of a batch share one.
type Trace struct {
	Began    time.Time // when it was its turn
	Calls    int       // that were made together, itself included
	Attempts int
}

// Tell tells the observers of a call that came at the given time. A nil Trace is that of a call that was never made.
func (t *Trace) Tell(op *observe.Op, came time.Time) {
	if t == nil || op == nil {
		return
	}
	op.Batched(t.Calls)
	op.Attempt(t.Attempts)
	op.Waited(t.Began.Sub(came))
}
