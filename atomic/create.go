package atomic

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/big"
	"reflect"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// CreateMissing makes a Counter insert a row that is missing, with the column at zero. Then the method's own guard
// decides. It is for numbers of a day, a user or a series:
//
//	numbers, err := atomic.NewCounter[int64](db, "invoice_numbers", "last", atomic.WithKey("series"), atomic.CreateMissing())
//	n, err := numbers.WithTx(tx).Increment(ctx, 1, "2026-11")
//
// If the guard refuses, no row is created: a Decrement of a missing row returns ErrInsufficient, and an IncrementUpTo
// beyond its limit returns ErrLimit. An amount of zero creates no row either.
//
// The option is for Increment, IncrementUpTo, Decrement and DecrementIfPositive, also those of a Coalescer. Transfer,
// DecrementAll, IncrementAll, CompareAndSet and Get create nothing, so that a mistyped account is still an error.
//
// The table needs a unique index on exactly the key. Without it the first use returns ErrNoUniqueIndex. The other
// columns need defaults. If a column has none, the error names it, and nothing was written. With Where, the condition
// decides about the row with its defaults.
//
// A row that is there costs one round trip, as without the option. A missing row costs two more, once. In a
// transaction of the caller's, Increment and IncrementUpTo cost three more statements each time on MySQL and MariaDB.
// They insert the row, or find it there, before the UPDATE. Otherwise the UPDATE would lock the gap where the row is
// missing, and would deadlock with others that do the same.
func CreateMissing() Option {
	return tableOption{Name: "CreateMissing", Set: func(o *options) error {
		o.creates = true
		return nil
	}}
}

// made is a change that may insert its row.
type made struct {
	q    *columnSQL
	u    *guardedUpdate
	how  change
	args []any // the key, the amount and the limit, as far as there are any
	keys int   // how many of them are the key
	zero bool  // the amount
}

func (m *made) key() Key { return m.args[:m.keys] }

// creation is how a missing row is inserted. The values are those of a guarded update.
type creation struct {
	// alone inserts the row with the amount in the column, which is the value then. returns says that it selects the value,
	// or nothing if the row is there; otherwise that is an error.
	alone   dialect.Statement
	returns bool
	// notAlone: what is stored may be something else, or another guard has to see the row.
	notAlone bool
	// upsert inserts the row with zero, unless it is there.
	upsert dialect.Statement
	// first: in a transaction it must come before the update.
	first bool
}

// creation makes the SQL. how says how the value of an update comes back.
func (c *column) creation(s dialect.Server, how newValue, meddles bool) creation {
	insert := "INSERT INTO " + s.Quote(c.t.Name) + " (" + s.QuoteAll(c.t.Key) + ", " + s.Quote(c.name) + ") VALUES (" +
		placeholders(len(c.t.Key)) + ", "
	amount := s.Amount(c.number, len(c.t.Key)+1) + ")"
	cr := creation{returns: s.OnConflict, first: s.GapLocks}
	if cr.returns {
		unless := " ON CONFLICT (" + s.QuoteAll(c.t.Key) + ") DO NOTHING"
		cr.alone = s.Compile(insert + amount + unless + " RETURNING " + s.Quote(c.name))
		cr.upsert = s.Compile(insert + "0)" + unless)
	} else {
		cr.alone = s.Compile(insert + amount)
		cr.upsert = s.Compile(insert + "0) ON DUPLICATE KEY UPDATE " + s.Quote(c.name) + " = " + s.Quote(c.name))
	}
	cr.notAlone = c.where != "" || how == readBack || meddles && !cr.returns
	return cr
}

// errNotCreated is of a row that is not there although it was inserted.
var errNotCreated = errors.New("CreateMissing: the row was not inserted though it is not there: a trigger or another unique index of " +
	"the server refuses it, or others keep deleting it")

// changeOrCreate makes a change. If the row is missing it inserts it before.
func (c *Counter[N]) changeOrCreate(ctx context.Context, op *observe.Op, m *made) (value N, err error) {
	if c.t.InTx() && m.q.creation.first && m.adds() {
		return c.createAndChange(ctx, op, m)
	}
	for turn := 1; ; turn++ {
		value, err = c.changeRow(ctx, op, m.u, m.args, m.zero)
		if !isMissing(err) {
			return value, err
		}
		if refusal := m.refusalAtZero(); refusal != nil || m.zero {
			value = zeroOf[N]()
			if refusal != nil {
				return value, c.refused(m.key(), refusal, value)
			}
			return value, nil
		}
		create := c.createAlone
		if c.t.InTx() || m.q.creation.notAlone {
			create = c.createAndChange
		}
		if value, err = create(ctx, op, m); !isMissing(err) {
			return value, err
		}
		if turn == maxTurns {
			return value, c.at(m.key(), fmt.Errorf("%w (%v)", errNotCreated, err))
		}
	}
}

// isMissing reports whether a change found no row, and wrote nothing.
func isMissing(err error) bool {
	return errors.Is(err, sql.ErrNoRows) && !errors.Is(err, nogap.ErrOutcomeUnknown)
}

// createAlone inserts the row with its first value, in one statement. The error is sql.ErrNoRows if somebody else has
// inserted it.
func (c *Counter[N]) createAlone(ctx context.Context, op *observe.Op, m *made) (value N, err error) {
	q := &m.q.creation
	text, args := q.alone.Bind(m.args)
	err = c.t.Statement(ctx, op, func(r txn.Runner) error {
		if q.returns {
			return r.QueryRow(ctx, text, args, &value)
		}
		_, err := r.Exec(ctx, text, args...)
		if sqlerr.Of(err).Has(sqlerr.Unique) {
			return fmt.Errorf("%w: %w", sql.ErrNoRows, err)
		}
		value, _ = m.args[len(m.key())].(N)
		return err
	})
	return value, c.explain(m.u, m.args, c.notCreated(err))
}

// createAndChange inserts the row with zero and changes it, both or neither.
func (c *Counter[N]) createAndChange(ctx context.Context, op *observe.Op, m *made) (value N, err error) {
	q := &m.q.creation.upsert
	text, args := q.Bind(m.args)
	err = c.t.Transaction(ctx, op, func(r txn.Runner) error {
		if _, err := r.Exec(ctx, text, args...); err != nil {
			return c.explain(m.u, m.args, c.notCreated(err))
		}
		value, err = c.apply(ctx, r, m.u, m.args, m.zero)
		return err
	})
	return value, err
}

// notCreated says what is wrong with the table of a row that can't be inserted.
func (c *column) notCreated(err error) error {
	switch of := sqlerr.Of(err); {
	case of.Has(sqlerr.NoDefault):
		return fmt.Errorf("CreateMissing: a column without a default keeps the row from being inserted: %w", err)
	case of.Has(sqlerr.NoArbiter):
		return fmt.Errorf("CreateMissing: %w: %w", noUniqueIndex(c.t), err)
	}
	return err
}

// refusalAtZero returns the refusal of a change of a value of zero, or nil.
func (m *made) refusalAtZero() error {
	switch {
	case m.how == incrementUpTo:
		amount, limit := m.args[len(m.args)-2], m.args[len(m.args)-1]
		if rational(amount).Cmp(rational(limit)) > 0 {
			return ErrLimit
		}
	case m.how != increment && !m.zero:
		return ErrInsufficient
	}
	return nil
}

// adds reports whether the change may insert a row.
func (m *made) adds() bool { return (m.how == increment || m.how == incrementUpTo) && !m.zero }

// zeroOf returns zero as the drivers would scan it.
func zeroOf[N any]() N {
	var zero sql.Null[N]
	if zero.Scan(int64(0)) != nil {
		return *new(N)
	}
	return zero.V
}

// rational returns an amount, of which sign has said that it is a number, exactly.
func rational(amount any) *big.Rat {
	if valuer, ok := amount.(driver.Valuer); ok {
		amount, _ = valuer.Value()
	}
	n, v := new(big.Rat), reflect.ValueOf(amount)
	switch {
	case v.CanInt():
		n.SetInt64(v.Int())
	case v.CanUint():
		n.SetUint64(v.Uint())
	case v.CanFloat():
		n.SetFloat64(v.Float())
	case v.Kind() == reflect.Slice:
		n.SetString(string(v.Bytes()))
	default:
		n.SetString(v.String())
	}
	return n
}
