// Package play plays one schedule: it runs clients step by step, in the order that is asked for, against the real database.
//
// One client runs at a time. The others are at the gate of their next statement, wait for a lock, or wait for one another inside the
// process. Whether a statement waits for a lock is asked of the server; whether a client waits inside the process is seen by the state
// of its goroutine. If a client that was taken to wait goes on by itself after all, the schedule is another one than was asked for, and
// is recorded as it was.
package play

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/racetest/effect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
)

// Player plays schedules of the same clients, one at a time.
type Player struct {
	Clients []*Client
	// Blocked asks the server whether the session's statement, which is under way, waits for a lock.
	Blocked func(ctx context.Context, s *gate.Session) (bool, error)
	Dialect effect.Dialect
	// Default is the level of a transaction that asks for none.
	Default effect.Isolation
	// DirtyReads: READ UNCOMMITTED is what it says.
	DirtyReads bool
	// Rest is how long a statement has waited for a lock before another client goes on.
	Rest time.Duration
	// Patience is how long nothing at all may happen; zero is 10 seconds.
	Patience time.Duration
}

// patience is for how long a client that has no statement under way may sleep, or wait for what may be a timer or another
// client, until the others go on; and when nothing moves any more.
type patience struct{ asleep, either, stuck time.Duration }

func (p *Player) patience() patience {
	stuck := p.Patience
	if stuck == 0 {
		stuck = 10 * time.Second
	}
	return patience{asleep: 2 * time.Second, either: 20 * time.Millisecond, stuck: stuck}
}

// Init makes the clients known. It comes before Controller and Play.
func (p *Player) Init() {
	for i, c := range p.Clients {
		c.player, c.index = p, i
	}
}

// Chooser returns which move comes next, as an index of moves. t is what has been played so far.
type Chooser func(t *Trace, moves []Move) int

// Last returns the client that was chosen last, or -1.
func (t *Trace) Last() int {
	if len(t.Decisions) == 0 {
		return -1
	}
	return t.Decisions[len(t.Decisions)-1].Client()
}

// Play plays a schedule of all clients, in the database as it is. Its error is one of the context, or of the connection to the server. What
// makes the schedule say nothing is its Doubt. A client's Panic is in its Errs.
func (p *Player) Play(ctx context.Context, choose Chooser) (*Trace, error) {
	return p.play(ctx, slices.Repeat([]bool{true}, len(p.Clients)), choose, false)
}

// PlayOrder plays some clients one after the other. A client's Panic or Leak is an error of it.
func (p *Player) PlayOrder(ctx context.Context, order []int) (*Trace, error) {
	wanted := make([]bool, len(p.Clients))
	for _, c := range order {
		wanted[c] = true
	}
	return p.play(ctx, wanted, func(_ *Trace, moves []Move) int {
		for _, c := range order {
			if i := slices.IndexFunc(moves, func(m Move) bool { return m.Client == c }); i >= 0 {
				return i
			}
		}
		return 0
	}, true)
}

func (p *Player) play(ctx context.Context, wanted []bool, choose Chooser, serial bool) (*Trace, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n := len(p.Clients)
	r := &run{
		messages: make(chan message), over: make(chan struct{}), player: p, serial: serial,
		trace: &Trace{Errs: make([]error, n), Ran: slices.Clone(wanted)}, txs: map[*gate.Session]*txState{},
	}
	for _, c := range p.Clients {
		r.clients = append(r.clients, &clientState{Client: c, cancel: func() {}})
		c.now.Store(r)
	}
	err := r.play(ctx, wanted, choose)
	if err == nil {
		err = r.idle(ctx)
	}
	if leak := new(Leak); !serial && errors.As(err, &leak) {
		r.trace.Leak = leak
		err = nil
	}
	if errors.As(err, new(doubt)) {
		r.trace.Doubt = err.Error()
		err = nil
	}
	if e := r.end(cancel); err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	if p := r.trace.Panic(); p != nil && serial {
		return nil, p
	}
	return r.trace, nil
}

func (r *run) play(ctx context.Context, wanted []bool, choose Chooser) error {
	for {
		moves := r.moves(wanted)
		if len(moves) == 0 {
			if r.allExited() {
				return nil
			}
			if err := r.anything(ctx); err != nil {
				return err
			}
			continue
		}
		d := Decision{Enabled: moves, Chosen: choose(r.trace, moves), First: len(r.trace.Events)}
		err := r.step(ctx, d.Client())
		d.End = len(r.trace.Events)
		r.trace.Decisions = append(r.trace.Decisions, d)
		if err != nil {
			return err
		}
	}
}

// idle waits until no connection is in use any more.
func (r *run) idle(ctx context.Context) error {
	for _, c := range r.clients {
		if !c.started {
			continue
		}
		began := time.Now()
		err := r.until(ctx, func() bool { return c.DB.Stats().InUse == 0 || time.Since(began) > time.Second }, func() error { return nil })
		if err != nil {
			return err
		}
		if c.DB.Stats().InUse > 0 {
			return &Leak{c.Name}
		}
	}
	return nil
}

// Leak is a client that returned and left a transaction open, or rows.
type Leak struct{ Client string }

func (l *Leak) Error() string {
	return "client " + l.Client + " has returned and left a connection in use: a transaction without Commit or Rollback, or rows that are not closed"
}

// end lets everybody go, with a context that is over, and waits for the clients to return.
func (r *run) end(cancel context.CancelFunc) error {
	cancel()
	close(r.over)
	returned := make(chan struct{})
	go func() { r.calls.Wait(); close(returned) }()
	defer func() {
		for _, c := range r.clients {
			c.now.Store(nil)
		}
	}()
	select {
	case <-returned:
		return nil
	case <-time.After(r.player.patience().stuck):
		return fmt.Errorf("%s; and a client does not return when its context ends", r.stuck())
	}
}

// op describes a statement.
func (p *Player) op(s *gate.Statement) Op {
	op := Op{Kind: s.Kind, Text: strings.TrimSpace(s.SQL), InTx: s.InTx, Level: p.level(sql.IsolationLevel(s.Isolation))}
	for _, a := range s.Args {
		op.Args = append(op.Args, a.Value)
	}
	switch s.Kind {
	case gate.Exec, gate.Query:
		op.Access = p.Dialect.Parse(s.SQL)
		if op.Access.Opaque && strings.HasSuffix(s.SQL, dialect.LookMark) { // nogap itself asks what a table is
			op.Access = p.Dialect.Catalog()
		}
	case gate.Begin:
		op.Level = p.spelled(s.SQL, op.Level)
		if p.Dialect.OneLock { // it may be BEGIN IMMEDIATE: drivers have a parameter for that
			op.Access.Locks = effect.All()
		}
		if strings.Contains(strings.ToUpper(s.SQL), "SNAPSHOT") {
			op.Access.Reads = effect.All()
		}
	}
	return op
}

// spelled returns the level that the text of a BEGIN names.
func (p *Player) spelled(text string, otherwise effect.Isolation) effect.Isolation {
	text = strings.ToUpper(text)
	switch {
	case strings.Contains(text, "SERIALIZABLE"), strings.Contains(text, "UNCOMMITTED"):
		return effect.Serializable
	case strings.Contains(text, "REPEATABLE"), strings.Contains(text, "SNAPSHOT"):
		return effect.Snapshot
	case strings.Contains(text, "READ COMMITTED"):
		return effect.ReadCommitted
	}
	return otherwise
}
