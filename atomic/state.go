package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

// State changes a column that says in which state a row is, such as the status of an order. S is the Go type of its
// values, usually a string type. A value that does not fit in the column is an error. The server decides which values
// are equal. Under a collation that ignores case, which is the default of MySQL and MariaDB, "paid" equals "Paid".
//
// A State is safe for concurrent use.
type State[S comparable] struct {
	column
}

// NewState returns the State of a column. The table may be qualified by its schema. It returns an error if a name is
// empty or an option is invalid. Nothing is sent to the server. A column that an optimistic.Table writes needs
// VersionColumn: see [NewCounter].
func NewState[S comparable](db *sql.DB, table, column string, opts ...Option) (*State[S], error) {
	c, err := newColumn(db, table, column, dialect.Verbatim, opts)
	if err == nil && c.creates {
		err = errors.New("CreateMissing is not an option of NewState")
	}
	if err != nil {
		return nil, fail(err)
	}
	_, c.t.Times = any(*new(S)).(time.Time)
	return &State[S]{c}, nil
}

// WithTx returns a State whose statements are part of tx. The rules are those of [Counter.WithTx].
func (s *State[S]) WithTx(tx nogap.Tx) *State[S] { return &State[S]{s.in(tx)} }

// Transition moves the row at key from one state to another. Of several callers at once, one succeeds. The others get
// ErrMismatch, inside a *RefusedError whose Current is the state of the row. If no row has the key, the error is
// sql.ErrNoRows, wrapped. See [Counter] for the other errors and for the end of ctx.
//
// Two equal states are an error. The database must treat the two states as different too: under a collation that
// ignores case, a move from "Open" to "open" can succeed any number of times.
func (s *State[S]) Transition(ctx context.Context, from, to S, key ...any) error {
	if reflect.DeepEqual(from, to) {
		return fail(fmt.Errorf("a transition from %v to itself would have no winner", from))
	}
	return swap(ctx, &s.column, "atomic.Transition", from, to, key)
}
