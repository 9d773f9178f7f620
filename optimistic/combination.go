package optimistic

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// combination is the change that the functions of several callers make, one after another.
type combination[T any] struct {
	*batcher[T]
	requests []*request[T]
	last     *pass[T] // the last one that all functions have passed; nil if none has
}

// pass is one run of the functions.
type pass[T any] struct {
	*combination[T]
	write    *versionedWrite
	ctx      context.Context
	next     int // the function whose turn it is
	outcomes []outcome[T]

	item    *T  // as the functions so far have left it
	version any // what follows on so many writes
	writes  int // that have been made so far
}

// outcome is what one function has made of the item.
type outcome[T any] struct {
	item     *T
	writes   int // its own and those of the functions before it
	err      error
	declined bool // err is the function's own
	absent   bool // its caller's context had ended before
}

func (c *combination[T]) of(ctx context.Context, item *T, w *versionedWrite) (*T, error) {
	p := &pass[T]{
		combination: c, write: w, ctx: ctx, outcomes: make([]outcome[T], len(c.requests)), item: item, version: w.read,
	}
	if err := p.run(); err != nil {
		return item, err
	}
	c.last = p
	if p.writes == 0 {
		return p.item, errUnchanged
	}
	w.countUpTo(p.version, p.writes)
	return p.item, w.setColumns(reflect.ValueOf(p.item).Elem())
}

// run runs the functions until all have had their turn or the context ends. They have a goroutine of their own, since a
// function that does not return, or calls runtime.Goexit, must not take along the caller who carries out the batch.
func (p *pass[T]) run() error {
	for p.ctx.Err() == nil {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for p.next < len(p.outcomes) && p.ctx.Err() == nil {
				p.next++
				p.one(p.next - 1)
			}
		}()
		select {
		case <-ended:
			if p.next == len(p.outcomes) {
				return nil
			}
		case <-p.ctx.Done():
		}
	}
	return fmt.Errorf("the time of the batch ended before all of its functions had returned: %w", p.ctx.Err())
}

// one gives a function its turn.
func (p *pass[T]) one(i int) {
	r, out := p.requests[i], &p.outcomes[i]
	out.writes, out.err = p.writes, errDied
	if err := r.ctx.Err(); err != nil {
		out.err, out.absent = err, true
		return
	}
	changed, version := false, p.version
	out.declined, out.err = r.apply(func() (declined bool, err error) {
		out.item = p.copy(p.item)
		if err := r.fn(out.item); err != nil {
			return true, err
		}
		changed, version, err = p.examine(out.item)
		return false, err
	})
	if out.err != nil {
		return
	}
	p.write.copyVersion(reflect.ValueOf(out.item).Elem(), version)
	if changed {
		p.item, p.version = out.item, version
		p.writes++
		out.writes++
	}
}

// examine reports whether a function has changed what is written, and returns the version after that.
func (p *pass[T]) examine(item *T) (changed bool, version any, err error) {
	row := reflect.ValueOf(item).Elem()
	if err := p.write.check(row); err != nil {
		return false, nil, err
	}
	if !p.table.columns.differ(reflect.ValueOf(p.item).Elem(), row) {
		return false, p.version, nil
	}
	version, err = p.write.after(p.version)
	return true, version, err
}

// settle tells a caller what came of its call, if err came of the write. What a function has decided before any other one
// changed the item, it decided from what the row held, and so stands.
func (p *pass[T]) settle(i int, r *request[T], err error) {
	out := &p.outcomes[i]
	switch {
	case out.absent:
		r.err = p.table.at(p.key(), out.err)
	case err != nil && out.writes > 0:
		r.err = err
	case out.declined:
		r.err, r.declined = out.err, true
	case out.err != nil && !errors.Is(out.err, errDied):
		r.err = fail(p.table.at(p.key(), out.err))
	default:
		r.item = out.item
		if out.err == nil && p.writes > 0 && out.writes == p.writes {
			p.write.copyVersion(reflect.ValueOf(out.item).Elem(), p.write.next.Interface())
		}
	}
}

func (p *pass[T]) key() []any { return p.write.key() }
