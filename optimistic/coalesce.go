package optimistic

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nogap-go/nogap/internal/combine"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/rowkey"
	"github.com/nogap-go/nogap/internal/txn"
)

// Errors of a Coalescer, by which it refuses a call. Nothing was written.
var (
	// ErrOverloaded is returned when as many callers as MaxWaiting allows wait for the same row already.
	ErrOverloaded = errors.New(prefix + "overloaded")
	// ErrClosed is returned when the Coalescer was closed before the call could be made.
	ErrClosed = errors.New(prefix + "closed")
)

// Coalescer changes rows that many callers want at once. It is faster than a lock and a commit for each call: the
// functions of callers that wait for the same row are applied one after another to one loaded item, and written by
// one compare-and-swap. Put it in front of a Table whose rows are hot and whose rules are written in Go. A single
// caller pays what a call on the Table costs.
//
//	hot := optimistic.Coalesce(items)
//	item, err := hot.Modify(ctx, func(it *Item) error {
//		if it.Stock == 0 {
//			return ErrSoldOut
//		}
//		it.Stock--
//		return nil
//	}, id)
//
// # Outcomes
//
// Every caller gets its own outcome, and the item as its own function left it, after the write is stored. The errors
// are those of Table.Modify. The result is the same as if the calls had been made one by one in the order of their
// arrival. Other processes, and other writers of this one, may change the row at any time. When a swap is lost, the
// row is loaded again and all functions are applied again. So a function may run more than once, as with Modify. It
// may run in another goroutine than its caller's, but never after its caller has got the answer. Two functions of a
// row never run at the same time, except those of a caller or a batch that took longer than Timeout.
//
// Each function works on a copy of its own. So a function that returns an error, that changes the key or a column of
// ReadOnly, that panics or calls runtime.Goexit has no effect on the others. Its caller gets the error, or the panic
// with its value, in the caller's own goroutine. A function that changes no column that Update writes counts as no
// write. If a function returns an error after another one has changed the item, its caller gets the error when that
// change is stored.
//
// It is for functions that look at nothing but the item. A function that waits for something, such as another call,
// makes all callers of its row wait. A function that calls the Coalescer for its own row waits for itself, until
// Timeout.
//
// # Copies
//
// A copy has the columns of the item. The fields without a column are zero, as in an item that was just loaded. Plain
// values are assigned. What exported fields refer to by pointers, slices and maps is copied. If T has anything else,
// such as an unexported pointer in a decimal type, it needs a method
//
//	func (it Item) Clone() Item
//
// that returns a copy whose changes don't show in the original. Without it every method returns an error that names
// the field. time.Time needs nothing.
//
// # Versions
//
// An integer version counts up by one for each function that changed the item, as if each change had been written by
// itself. So a version always belongs to one content, as in an ETag. The version must be an integer of 64 bits, in
// the column and in the field. A smaller one could be used up within hours, so every method returns an error that
// says so. With another kind of version the last items of a batch have the version that the row has now. Those before
// them have the version with which the batch was loaded, and an Update with such an item is a conflict.
//
// A batch is one statement for the server. A trigger fires once for it and sees the version jump. A CHECK sees what
// the last function left. A value that the server rounds is rounded once. If the server or the driver refuses the
// batch, its calls are made one by one, with an outcome for each. So they are if a trigger stores another version
// than the one that was written. Some servers have no way to tell that in the statement: MySQL and MariaDB with a
// trigger BEFORE UPDATE or an sql_mode that is not strict, and SQLite with any trigger on UPDATE. There all calls
// with an integer version are made one by one.
//
// # Errors and contexts
//
// The errors are those of [Table.Modify], and two more. ErrOverloaded is returned when MaxWaiting callers wait for
// the row. ErrClosed is returned after Close. The function did not run then.
//
// If the context of a caller ends before its function has run, the function is left out and the caller gets the
// context's error. If its function has run, the caller waits for the outcome, for as long as Timeout allows the
// batch. It gets the item, or an error that satisfies errors.Is for the context's error as well. If Timeout ended the
// batch, the error is context.DeadlineExceeded. If the outcome of a batch is unknown, its callers get
// nogap.ErrOutcomeUnknown, except those whose functions decided before any function changed the item. With a random
// token as the version, reading it back may show that the write was applied, as for Update.
//
// If a driver does not return within one more second, the callers get nogap.ErrOutcomeUnknown as well, and the next
// batch of the row begins. Only the caller whose goroutine sent the batch goes on waiting. A caller whose own
// function does not return waits for it. If a driver panics, that caller panics, and the others get
// nogap.ErrOutcomeUnknown.
//
// The options MaxAttempts, Backoff and LockAfter of the Table hold for a batch as for one call of Modify.
//
// # Cost
//
// There is no background goroutine. A caller that finds nobody at its row makes its call as Table.Modify does, at
// once, under its own context and in its own goroutine. Only if callers have just met at the row, it first lets the
// goroutines run that are ready to call, so that they join it. When it has finished, the first of the waiting callers
// leads the batch of all of them: it loads the row, lets the functions run in one goroutine, and writes. Nothing is
// kept for a row that nobody wants. A row has one statement under way at a time. So it takes one connection however
// many callers it has, and none while functions run.
//
// Calls with key values that only the driver understands, and not database/sql, are not combined.
//
// The method is the flat combining of Hendler, Incze, Shavit and Tzafrir, "Flat Combining and the
// Synchronization-Parallelism Tradeoff", SPAA 2010, with a row in place of a data structure.
//
// A Coalescer is safe for concurrent use. One for each table and process combines most.
type Coalescer[T any] struct {
	table *versionedTable
	group *combine.Group[*request[T], struct{}]
	err   error // what is wrong with it
}

// Coalesce returns a Coalescer of a Table. Every method of the Coalescer returns an error that says what is wrong,
// and nothing is sent, if the Table is nil or is bound to a transaction, if a T can't be copied, if the version's
// field is an integer of less than 64 bits, or if an option is invalid or given twice.
func Coalesce[T any](items *Table[T], opts ...CoalesceOption) *Coalescer[T] {
	c := &Coalescer[T]{}
	b, bounds, err := newBatcher(items, opts)
	if err != nil {
		c.err = fail(fmt.Errorf("Coalesce: %w", err))
		return c
	}
	c.table, c.group = b.table, combine.New(b, bounds)
	return c
}

func newBatcher[T any](items *Table[T], opts []CoalesceOption) (*batcher[T], combine.Bounds, error) {
	bounds, err := newBounds(opts)
	switch {
	case err != nil:
		return nil, bounds, err
	case items == nil:
		return nil, bounds, errors.New("the Table is nil")
	case items.t.InTx():
		return nil, bounds, items.t.failed(errors.New("the Table is part of a transaction, in which nobody else's calls can be made"))
	}
	t := items.t.inBatches()
	version := t.columns.version
	if n := base(version.Type); t.kind == integerVersion && n.Bits() < 64 {
		return nil, bounds, t.failed(fmt.Errorf("the field for the version column %q is a %v, which many writes a second use up soon: "+
			"Coalesce needs an integer of 64 bits", version.Name, version.Type))
	}
	copyItem, err := newCopy[T](t.columns.all)
	if err != nil {
		return nil, bounds, t.failed(fmt.Errorf("%v: %w", reflect.TypeFor[T](), err))
	}
	return &batcher[T]{t, copyItem}, bounds, nil
}

// Modify lets fn change the row with these key values, as Table.Modify does. It returns the item as fn left it, with
// the version that this write gave it. If fn changes nothing, nothing is written. fn must not change the key. What it
// does to the version is ignored.
//
// If fn returns an error, Modify returns that error as it is. ErrOverloaded and ErrClosed mean that fn did not run.
// The other errors are those of [Table.Modify]. [Coalescer] says what the end of ctx does.
func (c *Coalescer[T]) Modify(ctx context.Context, fn func(item *T) error, key ...any) (item *T, err error) {
	if c.err != nil {
		return nil, c.err
	}
	err = c.table.Operation(ctx, "optimistic.Modify", func(ctx context.Context, op *observe.Op) error {
		item, err = c.modify(ctx, op, fn, key)
		return err
	})
	return item, err
}

func (c *Coalescer[T]) modify(ctx context.Context, op *observe.Op, fn func(*T) error, key []any) (item *T, err error) {
	var space [64]byte
	name, exact := rowkey.Append(space[:0], key)
	if !exact || fn == nil || c.table.CheckKey(key) != nil || c.table.CheckFree(ctx, key) != nil || c.apart(ctx) {
		// A key that can't be compared, a table whose calls can't be combined, or a call for Modify to refuse.
		op.Batched(1)
		closed := c.group.Apart(func() { item, err = modify(ctx, c.table, op, fn, key) })
		if closed != nil {
			err = c.failed(key, closed)
		}
		return item, err
	}
	var came time.Time
	if op != nil {
		came = time.Now()
	}
	r := &request[T]{ctx: ctx, fn: fn, op: op}
	_, err = c.group.Do(ctx, name, key, r)
	r.end()
	if err != nil {
		return nil, c.failed(key, err)
	}
	r.trace.Tell(op, came)
	if r.declined {
		op.CallbackFailed()
	}
	return r.item, txn.JoinContext(ctx, r.err)
}

// apart reports whether calls can't be combined at all: one by one they would have to fit into one Timeout.
func (c *Coalescer[T]) apart(ctx context.Context) bool {
	q, err := c.table.statements(ctx)
	return err != nil || q.mayMiscount
}

// failed gives an error the row that it is about, and the package's name for it.
func (c *Coalescer[T]) failed(key []any, err error) error {
	return fail(c.table.at(key, combine.Rename(err, ErrOverloaded, ErrClosed)))
}

// Close ends the Coalescer. Later calls return ErrClosed, and so do calls whose batch has not begun. Close waits
// until the calls that are under way have ended. Their callers get the outcome. A batch ends at most one second after
// its Timeout. Close waits for that time at most, for a call made on the Table too. If a call has not ended by then,
// Close returns an error that says so. If Coalesce was given something wrong, Close returns the error that says what.
//
// Close does not close the Table's database. It may be called more than once, and concurrently.
func (c *Coalescer[T]) Close() error {
	if c.err != nil {
		return c.err
	}
	if err := c.group.Close(); err != nil {
		return fail(c.table.failed(fmt.Errorf("Close: %w", err)))
	}
	return nil
}
