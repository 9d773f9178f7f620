package racetest

import (
	"context"

	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/racetest/play"
)

// Step makes a step of something that is no statement, such as a call of another service: another client may go on
// before it. The work of the client from there to its next step belongs to it. name is for the report. ctx is that of
// Client.Run, or one made from it. Outside a scenario Step does nothing. The step is treated as if it could read and
// write anything, since nothing is known of it.
//
// Step waits until it is the client's turn. If ctx ends before that, Step returns at once.
func Step(ctx context.Context, name string) {
	_ = play.Do(ctx, play.Op{Text: name, Access: effect.Anything()}, func(context.Context) gate.Result { return gate.Result{} })
}
