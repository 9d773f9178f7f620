package play

import (
	"context"
	"database/sql"
	"fmt"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
)

// Client is one of those whose steps are put in order. It keeps its connections from schedule to schedule.
type Client struct {
	Name string
	DB   *sql.DB
	Run  func(context.Context, *sql.DB) error

	player *Player
	index  int
	now    atomic.Pointer[run] // the schedule that is played; nil between schedules
}

// request is a step that a client wants to make.
type request struct {
	op      Op
	client  int
	session *gate.Session // nil if it is no statement
	granted chan error
	again   chan bool

	step   *Step
	result gate.Result
	state  requestState
}

type requestState int

const (
	asking  requestState = iota // at the gate
	sent                        // under way
	blocked                     // under way, and waits for a lock
	busy                        // refused because of a lock, to be sent again
	back                        // its result is there, and kept from the client
)

// Before implements gate.Controller.
func (c *Client) Before(ctx context.Context, s *gate.Statement) error {
	r := c.now.Load()
	if r == nil {
		return nil
	}
	req := &request{op: c.player.op(s), client: c.index, session: s.Session, granted: make(chan error, 1), again: make(chan bool, 1)}
	if err := r.ask(ctx, req); err != nil {
		return err
	}
	r.underway.Store(s, req)
	return nil
}

// After implements gate.Controller.
func (c *Client) After(_ context.Context, s *gate.Statement, result gate.Result) (again bool) {
	r := c.now.Load()
	if r == nil {
		return false
	}
	req, ok := r.underway.Load(s)
	if !ok {
		return false
	}
	again = r.answer(req.(*request), result)
	if !again {
		r.underway.Delete(s)
	}
	return again
}

type key struct{}

// Empty is the error of a step of Do that waits for another client to put something there, such as BLPOP. The step is done again after
// another client has gone on, for as long as there is one.
type Empty string

func (e Empty) Error() string { return string(e) }

// Inside reports whether ctx is that of a client's function, whose steps are put in order now.
func Inside(ctx context.Context) bool {
	c, ok := ctx.Value(key{}).(*Client)
	return ok && c.now.Load() != nil
}

// Do makes op a step of the client whose context ctx is. fn is what is done in it, with a context in which Do only calls fn. Outside a client's
// function Do only calls fn, too. fn is called again if its Result's Err is Empty and another client has gone on. The error is that of a
// context that has ended before it was the client's turn: then fn is not called.
func Do(ctx context.Context, op Op, fn func(context.Context) gate.Result) error {
	if !Inside(ctx) {
		fn(ctx)
		return nil
	}
	c := ctx.Value(key{}).(*Client)
	r := c.now.Load()
	req := &request{op: op, client: c.index, granted: make(chan error, 1), again: make(chan bool, 1)}
	if err := r.ask(ctx, req); err != nil {
		return err
	}
	ctx = context.WithValue(ctx, key{}, nil)
	for r.answer(req, fn(ctx)) {
	}
	return nil
}

// call runs the client's function and tells the scheduler how it ended.
func (c *Client) call(ctx context.Context, r *run) {
	var err error
	returned := false
	defer func() {
		if p := recover(); p != nil {
			err = &Panic{Client: c.Name, Value: p, Stack: frames(debug.Stack())}
		} else if !returned {
			err = &Panic{Client: c.Name}
		}
		r.send(message{kind: exited, client: c.index, err: err})
	}()
	r.send(message{kind: begun, client: c.index, goroutine: goroutineID()})
	err = c.Run(context.WithValue(ctx, key{}, c), c.DB)
	returned = true
}

// Panic is a client's function that panicked, or that ended its goroutine as t.FailNow does.
type Panic struct {
	Client string
	Value  any    // nil if it ended its goroutine
	Stack  string // from the panic to the client's function
}

func (p *Panic) Error() string {
	if p.Value == nil {
		return fmt.Sprintf("the function of client %s ended its goroutine (t.FailNow?); let it return an error", p.Client)
	}
	return fmt.Sprintf("client %s panicked: %v\n%s", p.Client, p.Value, p.Stack)
}

// frames returns the part of a stack from the panic to the client's function.
func frames(stack []byte) string {
	s := string(stack)
	if _, after, ok := strings.Cut(s, "\npanic("); ok {
		_, after, _ = strings.Cut(after, "\n") // its arguments
		_, s, _ = strings.Cut(after, "\n")     // its file
	}
	s, _, _ = strings.Cut(s, "\ngithub.com/nogap-go/nogap/internal/racetest/play.(*Client).call(")
	return s
}

// level returns what counts of a level of isolation.
func (p *Player) level(l sql.IsolationLevel) effect.Isolation {
	switch l {
	case sql.LevelDefault:
		return p.Default
	case sql.LevelReadUncommitted:
		if p.DirtyReads {
			return effect.Serializable // what is locked may be read too
		}
		return effect.ReadCommitted
	case sql.LevelReadCommitted:
		return effect.ReadCommitted
	case sql.LevelSerializable, sql.LevelLinearizable:
		return effect.Serializable
	}
	return effect.Snapshot
}
