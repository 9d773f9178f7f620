package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// A Set adds and removes rows of which each may exist only once: who likes which post, which event has been handled.
// The server's unique index decides who was first. The first use checks that the index exists, and returns
// ErrNoUniqueIndex if it does not.
//
// The other columns of the table need a default. A Set is safe for concurrent use.
type Set struct {
	t   *table.Table
	sql *table.SQL[setSQL]
}

type setSQL struct {
	add, remove dialect.Statement
	// returns: both return 1 for the row that they write.
	returns bool
	// addFails: a member that was there is an error of add.
	addFails bool
	// addSees: add selects 0 for a member that was there.
	addSees bool
	// alwaysAdds: add writes nothing only for a member that was there.
	alwaysAdds bool
	// present looks for a member in a way that sees what was in the way of an INSERT; unset where add does that.
	present dialect.Statement
	// noAdd and noRemove say why the set can't be changed so.
	noAdd, noRemove error
}

// NewSet returns the Set of a table whose members are the values of the named columns:
//
//	likes, err := atomic.NewSet(db, "likes", []string{"post_id", "user_id"})
//
// WithDialect is the only option that NewSet takes. NewSet returns an error if a name is empty, if there is no column
// or one is given twice, or if an option is invalid. Nothing is sent to the server.
func NewSet(db *sql.DB, table string, columns []string, opts ...Option) (*Set, error) {
	s, err := newSet(db, table, columns, opts)
	return s, fail(err)
}

func newSet(db *sql.DB, name string, columns []string, opts []Option) (*Set, error) {
	if len(columns) == 0 {
		return nil, errors.New("NewSet names no column")
	}
	t, _, given, err := bind(db, name, opts)
	if err == nil {
		err = given.Refuse("NewSet, whose columns are the key", "WithKey")
	}
	if err == nil {
		err = given.Refuse("NewSet, whose rows do not change", "VersionColumn", "Where", "CreateMissing")
	}
	if err == nil {
		err = given.Refuse("NewSet", useOptionNames...)
	}
	if err != nil {
		return nil, err
	}
	key, err := dialect.Columns(columns...)
	if err != nil {
		return nil, err
	}
	return &Set{t.By(key), new(table.SQL[setSQL])}, nil
}

// WithTx returns a Set whose statements are part of tx. The rules are those of [Counter.WithTx].
func (s *Set) WithTx(tx nogap.Tx) *Set { return &Set{s.t.In(tx), s.sql} }

// Add inserts the member. It takes one value for each column of the Set. It returns true to the one caller that
// inserted the member, and false if the member was there. It costs one round trip. On MySQL and MariaDB a member that
// was there costs two.
//
// ErrNoUniqueIndex is returned when the table lacks the index. An error is returned as well when a trigger has
// dropped the member, so that it is not there. See [Counter] for nogap.ErrLockTimeout, ErrRetriesExhausted,
// nogap.ErrOutcomeUnknown and the end of ctx.
func (s *Set) Add(ctx context.Context, member ...any) (added bool, err error) {
	return s.run(ctx, "atomic.Add", member, s.add)
}

// Remove deletes the member. It returns true to the one caller that deleted it, and false if it was not there. Its
// errors and what the end of ctx does are as in [Set.Add].
func (s *Set) Remove(ctx context.Context, member ...any) (removed bool, err error) {
	return s.run(ctx, "atomic.Remove", member, remove)
}

// run makes a change, and reports whether it changed something.
func (s *Set) run(
	ctx context.Context, name string, member []any, do func(context.Context, txn.Runner, *setSQL, []any) (bool, error),
) (changed bool, err error) {
	err = s.t.Operation(ctx, name, func(ctx context.Context, op *observe.Op) error {
		if err := s.checkMember(ctx, member); err != nil {
			return fail(err)
		}
		q, err := s.statements(ctx)
		if err != nil {
			return s.failed(member, err)
		}
		err = s.t.Statement(ctx, op, func(r txn.Runner) error {
			changed, err = do(ctx, r, q, member)
			return err
		})
		if err != nil {
			return s.failed(member, err)
		}
		if changed || q.addFails { // else no row is locked
			s.t.Wrote(ctx, member)
		}
		return nil
	})
	return changed && err == nil, err
}

// failed gives an error the member that it is about and the package's name, unless it names its place already.
func (s *Set) failed(member []any, err error) error {
	if isPlaced(err) {
		return fail(err)
	}
	return &placedError{place: fmt.Sprintf("%s at %v", s.t.Name, member), err: err}
}

func (s *Set) checkMember(ctx context.Context, member []any) error {
	if err := s.t.CheckKey(member); err != nil {
		return err
	}
	return s.t.CheckFree(ctx, member)
}

func remove(ctx context.Context, r txn.Runner, q *setSQL, member []any) (bool, error) {
	if q.noRemove != nil {
		return false, q.noRemove
	}
	return txn.WriteOne(ctx, r, q.returns, q.remove.Text, q.remove.Args(member)...)
}

// add inserts the member. Where neither is it inserted nor is it there, somebody may have removed it in between, or put it
// in after the statement had begun: then it is tried again.
func (s *Set) add(ctx context.Context, r txn.Runner, q *setSQL, member []any) (bool, error) {
	if q.noAdd != nil {
		return false, q.noAdd
	}
	for turn := 1; ; turn++ {
		added, err := s.tryAdd(ctx, r, q, member)
		if !errors.Is(err, errNotAdded) || turn == maxTurns {
			return added, err
		}
	}
}

// errNotAdded is of a member that is not there although it was inserted.
var errNotAdded = errors.New("the member was not inserted though it is not there: a trigger or another unique index of the " +
	"server refuses it, or a policy hides it")

// tryAdd inserts the member once, unless it is there. An error that wraps errNotAdded says that nobody knows why it was not
// inserted.
func (s *Set) tryAdd(ctx context.Context, r txn.Runner, q *setSQL, member []any) (added bool, err error) {
	var result int
	refused := errNotAdded
	switch {
	case q.addFails:
		if _, err = r.Exec(ctx, q.add.Text, q.add.Args(member)...); err == nil {
			return true, nil
		}
		if sqlerr.Of(err).Has(sqlerr.Unique) {
			refused, err = fmt.Errorf("%w: %w", errNotAdded, err), nil
		}
	case q.addSees:
		err = r.QueryRow(ctx, q.add.Text, q.add.Args(member), &result)
		if err == nil {
			return result == 1, nil
		}
		if errors.Is(err, sql.ErrNoRows) {
			return false, errNotAdded
		}
	default:
		added, err = txn.WriteOne(ctx, r, q.returns, q.add.Text, q.add.Args(member)...)
	}
	switch {
	case sqlerr.Of(err).Has(sqlerr.NoArbiter):
		return false, fmt.Errorf("%w: %w", noUniqueIndex(s.t), err)
	case err != nil:
		return false, err // also after a row has come, when a constraint is deferred
	case added, q.alwaysAdds:
		return added, nil
	}
	err = r.Read(ctx, q.present.Text, q.present.Args(member), &result)
	if errors.Is(err, sql.ErrNoRows) {
		return false, refused
	}
	return false, err
}

func (s *Set) statements(ctx context.Context) (*setSQL, error) {
	return s.sql.Of(ctx, s.t, func(ctx context.Context, r txn.Runner, server dialect.Server, look dialect.Look) (*setSQL, error) {
		noAdd, noRemove := s.t.CheckWritten(look, dialect.Insert), s.t.CheckWritten(look, dialect.Delete)
		if noAdd == nil {
			if err := checkUniqueIndex(ctx, r, s.t, server); err != nil {
				return nil, err
			}
		}
		q := s.build(server, look.MeddlesInserts || !look.Listed)
		q.noAdd, q.noRemove = noAdd, noRemove
		return q, nil
	})
}

func (s *Set) build(server dialect.Server, dropsInserts bool) *setSQL {
	name, columns := server.Quote(s.t.Name), server.QuoteAll(s.t.Key)
	insert := "INSERT INTO " + name + " (" + columns + ") VALUES (" + placeholders(len(s.t.Key)) + ")"
	where := " FROM " + name + " WHERE " + server.Equals(s.t.Key, 1)
	q := &setSQL{
		remove: server.Compile("DELETE" + where + server.Returning), returns: server.Returning != "", addFails: !server.OnConflict,
	}
	if !q.addFails {
		insert += " ON CONFLICT (" + columns + ") DO NOTHING" + server.Returning
	}
	if !q.addFails && !dropsInserts {
		q.add, q.alwaysAdds = server.Compile(insert), true
		return q
	}
	if server.WritingCTE {
		// Both parts see the table as it was before, so they don't meet.
		q.addSees = true
		q.add = server.Compile("WITH added AS (" + insert + ") SELECT 1 FROM added UNION ALL SELECT 0" + where)
		return q
	}
	// INSERT IGNORE would hide other errors too. The refused INSERT holds a shared lock on the row already; a locking
	// read sees it whatever the snapshot of the transaction is.
	q.add = server.Compile(insert)
	q.present = server.Compile("SELECT 1" + where + " LIMIT 1" + server.LatestReadShared)
	return q
}
