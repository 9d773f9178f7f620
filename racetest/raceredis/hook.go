package raceredis

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/racetest/play"
)

// A node is the hook of its client.
var _ redis.Hook = (*node)(nil)

// DialHook implements redis.Hook.
func (n *node) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (n *node) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return n.step(ctx, []redis.Cmder{cmd}, func(ctx context.Context) error { return next(ctx, cmd) })
	}
}

// ProcessPipelineHook implements redis.Hook.
func (n *node) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return n.step(ctx, cmds, func(ctx context.Context) error { return next(ctx, cmds) })
	}
}

// step sends commands as a step of the client whose context it is, if they are one.
func (n *node) step(ctx context.Context, cmds []redis.Cmder, send func(context.Context) error) error {
	if isOurs(ctx) || !n.resource.isOpen() {
		return send(ctx)
	}
	e, err := n.effects(ctx, cmds)
	if err != nil {
		return err
	}
	if e.none() {
		return send(ctx)
	}
	if err := n.meet(ctx, e.keys); err != nil {
		return err
	}
	if !play.Inside(ctx) {
		n.resource.note()
		return n.sent(ctx, e, send)
	}
	time := patience(cmds)
	if time != "" {
		send = func(ctx context.Context) error { return n.withoutWaiting(ctx, cmds) }
	}
	op := n.op(cmds, e)
	if notSent := play.Do(ctx, op, func(ctx context.Context) gate.Result {
		err = n.sent(ctx, e, send)
		return result(cmds, time != "", err)
	}); notSent != nil {
		return notSent
	}
	if isForever(time) && errors.Is(err, redis.Nil) {
		return fmt.Errorf("raceredis: %s waits for ever: there is no client left that could send it anything", op.Text)
	}
	return err
}

// sent sends commands, and looks after the keys that expire.
func (n *node) sent(ctx context.Context, e effects, send func(context.Context) error) error {
	// What go-redis sends by itself meanwhile, to make a connection ready, is no step.
	err := send(context.WithValue(ctx, oursKey{}, true))
	n.lookExpired(e.keys)
	n.watch(e)
	if e.writes {
		n.learnExpiry(ctx, e.keys)
	}
	return err
}

// errNothingDone is how a step ends that found a lock held: it lets nobody else go on.
var errNothingDone = errors.New("nothing done")

// result returns what came of commands, as one value for each.
func result(cmds []redis.Cmder, waits bool, err error) gate.Result {
	r := gate.Result{Columns: []string{"reply"}}
	for _, cmd := range cmds {
		if e := cmd.Err(); err == nil && e != nil {
			err = e
		}
	}
	switch {
	case errors.Is(err, redis.Nil) && waits:
		r.Err = play.Empty("nothing there")
	case len(cmds) == 1 && refused(cmds[0], err):
		r.Err = errNothingDone
	case err != nil && !errors.Is(err, redis.Nil):
		r.Err = err
	default:
		for _, cmd := range cmds {
			r.Rows = append(r.Rows, []driver.Value{reply(cmd)})
		}
	}
	return r
}

// refused reports whether a command to get a lock, or to give it back, says that it has done nothing: SET NX, SETNX and scripts.
func refused(cmd redis.Cmder, err error) bool {
	switch cmd.Name() {
	case "set", "setnx", "eval", "evalsha":
		return errors.Is(err, redis.Nil) || isFalse(cmd)
	}
	return false
}

func isFalse(cmd redis.Cmder) bool {
	switch c := cmd.(type) {
	case *redis.BoolCmd:
		return c.Err() == nil && !c.Val()
	case *redis.IntCmd:
		return c.Err() == nil && c.Val() == 0
	case *redis.Cmd:
		return c.Err() == nil && fmt.Sprint(c.Val()) == "0"
	}
	return false
}

// op describes commands: their names with the keys, and apart from them the other arguments, which may be made up anew each time.
func (n *node) op(cmds []redis.Cmder, e effects) play.Op {
	op := play.Op{Access: n.access(e)}
	var names []string
	for _, cmd := range cmds {
		name := strings.ToUpper(cmd.Name())
		for _, a := range cmd.Args()[1:] {
			if word := argument(a); slices.Contains(e.keys, word) {
				name += " " + word
			} else {
				op.Args = append(op.Args, word)
			}
		}
		names = append(names, name)
	}
	op.Text = strings.Join(names, "; ")
	return op
}

// argument returns an argument as go-redis sends it.
func argument(a any) string {
	switch a := a.(type) {
	case string:
		return a
	case []byte:
		return string(a)
	}
	return fmt.Sprint(a)
}

// reply returns the value of a command that has succeeded, whose type has a method Val as all of go-redis have.
func reply(cmd redis.Cmder) any {
	if errors.Is(cmd.Err(), redis.Nil) {
		return nil
	}
	v := reflect.ValueOf(cmd).MethodByName("Val")
	if !v.IsValid() || v.Type().NumIn() != 0 || v.Type().NumOut() == 0 {
		return cmd.String()
	}
	return fmt.Sprint(v.Call(nil)[0].Interface())
}
