package play

import (
	"context"

	"github.com/nogap-go/nogap/internal/racetest/gate"
)

type messageKind int

const (
	begun messageKind = iota
	asks
	withdraws
	answers
	exited
)

type message struct {
	kind      messageKind
	client    int
	req       *request
	err       error
	goroutine int64
}

func (r *run) send(m message) {
	select {
	case r.messages <- m:
	case <-r.over:
	}
}

// ask has a client wait for its turn.
func (r *run) ask(ctx context.Context, req *request) error {
	r.send(message{kind: asks, client: req.client, req: req})
	select {
	case err := <-req.granted:
		return err
	case <-r.over:
		return nil // a rollback must get through
	case <-ctx.Done():
		r.send(message{kind: withdraws, client: req.client, req: req})
		return ctx.Err()
	}
}

// answer has a client wait until it may see a result.
func (r *run) answer(req *request, result gate.Result) (again bool) {
	req.result = result
	r.send(message{kind: answers, client: req.client, req: req})
	select {
	case again = <-req.again:
		return again
	case <-r.over:
		return false
	}
}
