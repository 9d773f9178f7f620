package play

import (
	"context"
	"fmt"
	"time"
)

// steady waits until a client is at its next step, has returned, or waits inside the process.
func (r *run) steady(ctx context.Context, c *clientState) error {
	quiet := 0
	began := time.Now()
	return r.until(ctx, func() bool {
		return c.exited || c.parked || len(c.asking) > 0 || len(c.flying) > 0
	}, func() error {
		limit := r.player.patience()
		how, _ := pauseOf(stackOf(c.goroutine))
		switch passed := time.Since(began); {
		case how == computing, how == forEither && passed < limit.either, how == asleep && passed < limit.asleep:
			quiet = 0
		default:
			quiet++
		}
		if quiet >= 2 {
			c.parked = true
			r.trace.Parked++
			r.trace.Entries = append(r.trace.Entries, Entry{What: Parked, Client: c.index})
		}
		return nil
	})
}

// doubt is why a schedule says nothing.
type doubt string

func (d doubt) Error() string { return string(d) }

// until handles messages until ok. While nothing happens it looks from time to time.
func (r *run) until(ctx context.Context, ok func() bool, look func() error) error {
	wait := 500 * time.Microsecond // a lock that a statement waits for is seen by then
	var timer *time.Timer
	began := time.Now()
	for !ok() {
		// Most answers come sooner than a timer is made.
		if timer == nil {
			timer = time.NewTimer(wait)
			defer timer.Stop()
		}
		select {
		case m := <-r.messages:
			r.handle(m)
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		if err := look(); err != nil {
			return err
		}
		if time.Since(began) > r.player.patience().stuck {
			return doubt(r.stuck())
		}
		wait = min(2*wait, 5*time.Millisecond)
		timer.Reset(wait)
	}
	return nil
}

// stuck says who waits for what.
func (r *run) stuck() string {
	text := fmt.Sprintf("nothing moves any more for %s:", r.player.patience().stuck)
	for _, c := range r.clients {
		switch {
		case !c.started || c.exited:
			continue
		case len(c.flying) > 0 && c.flying[0].state == sent:
			text += fmt.Sprintf(" %s's statement does not come back, and the server does not say that it waits (%s);", c.Name, c.flying[0].op.Text)
		case len(c.flying) > 0:
			text += fmt.Sprintf(" %s waits for a lock (%s);", c.Name, c.flying[0].op.Text)
		case len(c.asking) == 0:
			_, state := pauseOf(stackOf(c.goroutine))
			text += fmt.Sprintf(" %s waits inside the process (%s);", c.Name, state)
		}
	}
	return text[:len(text)-1] + ". If they wait for each other inside the process, that is a deadlock of the program: take its locks in one order. " +
		"If one waits for something outside, such as another service, let the test put something in its place"
}
