package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fields"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// SingleUse uses rows of which each may be used once: codes to reset a password, refresh tokens, invitations,
// vouchers. T is a struct with a field for each column that the caller wants to read from the row.
//
//	resets, err := atomic.NewSingleUse[Reset](db, "password_resets", atomic.UsedAt("used_at"), atomic.ExpiresAt("expires_at"))
//	reset, err := resets.Use(ctx, code)
//
// # Time
//
// The time in the column of ExpiresAt is compared with the server's clock, as an instant. The time zones of the
// session and of the DSN don't matter. A row is expired from that instant on.
//   - PostgreSQL: a column without a time zone holds UTC.
//   - MySQL and MariaDB: the instant is the one that the driver reads from the column. So the driver must have written
//     it, with the same settings, and the DSN needs parseTime=true. The clock is read when the statement begins.
//   - SQLite: the clock is that of the process. A time is a value that the driver returns as a time, a text in one of
//     the usual formats, or an integer. A text without a zone is UTC. An integer counts seconds, milliseconds,
//     microseconds or nanoseconds since 1970; its size tells which.
//
// The column of UsedAt gets the time of the use, which the driver writes in UTC. On MySQL and MariaDB it is the time
// of the server's clock, elsewhere that of the process. It decides nothing: only NULL or not matters.
//
// # Cost
//
// A use is one statement where UPDATE … RETURNING works: always on PostgreSQL, and on SQLite without ExpiresAt and
// without triggers for UPDATE. Elsewhere it is a transaction of four round trips that locks the row, or two
// statements and a savepoint with WithTx. A refusal costs one statement more, or nothing.
//
// A SingleUse is safe for concurrent use.
type SingleUse[T any] struct {
	u singleUse
}

// UsedAt names the column of a SingleUse that says when a row was used. It holds a time or NULL. NULL means that the
// row can be used. If T has a field for the column, the field is a time.Time, a pointer to one, or has a Scan method
// that takes one.
func UsedAt(column string) Option {
	return useColumn("UsedAt", column, func(o *useOptions) **dialect.Ident { return &o.usedAt })
}

// ExpiresAt names the column of a SingleUse that says until when a row can be used. It holds a time. NULL means
// without an end.
func ExpiresAt(column string) Option {
	return useColumn("ExpiresAt", column, func(o *useOptions) **dialect.Ident { return &o.expiresAt })
}

// DeleteUsed makes a SingleUse delete the rows that are used, in the place of UsedAt. The next Use of such a row
// returns sql.ErrNoRows, as for a row that never existed.
func DeleteUsed() Option {
	return tableOption{Name: "DeleteUsed", Set: func(o *options) error {
		o.use.deletes = true
		return nil
	}}
}

// useOptions are those of a SingleUse alone.
type useOptions struct {
	usedAt, expiresAt *dialect.Ident
	deletes           bool
}

var useOptionNames = []string{"UsedAt", "ExpiresAt", "DeleteUsed"}

func useColumn(option, column string, where func(*useOptions) **dialect.Ident) Option {
	return tableOption{Name: option, Set: func(o *options) error {
		ident, err := dialect.Column(column)
		if err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		*where(&o.use) = &ident
		return nil
	}}
}

// NewSingleUse returns the SingleUse of a table, which may be qualified by its schema. Its options are UsedAt or
// DeleteUsed, one of which must be given, and ExpiresAt, WithKey, Where and WithDialect. With UsedAt it also takes
// VersionColumn. It returns an error if a name or an option is invalid, or if T is no struct or has a field of the
// wrong type for the column of UsedAt. Nothing is sent to the server.
//
// The fields of T are mapped to columns as sqlx does it: by their db tags, else by their names in lower case; db:"-"
// leaves a field out. Columns without a field are left alone.
func NewSingleUse[T any](db *sql.DB, table string, opts ...Option) (*SingleUse[T], error) {
	u, err := newSingleUse(db, table, reflect.TypeFor[T](), opts)
	if err != nil {
		return nil, fail(err)
	}
	return &SingleUse[T]{u}, nil
}

// WithTx returns a SingleUse whose statements are part of tx. The rules are those of [Counter.WithTx]. After a
// rollback the row can be used again, so what was done with it must be undone as well.
func (s *SingleUse[T]) WithTx(tx nogap.Tx) *SingleUse[T] {
	u := s.u
	u.t = u.t.In(tx)
	return &SingleUse[T]{u}
}

// Use uses the row with these key values, and returns it as it is after the use. A row that is deleted is returned as
// it was before. Of all callers one gets the row.
//
//   - ErrUsed is returned when the row has been used.
//   - ErrExpired is returned when the row was not used in time.
//   - ErrConditionFailed is returned when the condition of Where refuses the row.
//   - sql.ErrNoRows is returned, wrapped, when no row has the key.
//   - nogap.ErrOutcomeUnknown is returned when the row may be used up, and nobody has got it.
//
// The first three come inside a *RefusedError. See [Counter] for the other errors and for the end of ctx. With any
// error the returned T is zero, and unless it is nogap.ErrOutcomeUnknown nothing was written.
//
// A row that T can't hold, with a NULL in a field that takes none for example, is an error too. Where a use is one
// statement, the row is used up by then, so nogap.ErrOutcomeUnknown is wrapped.
func (s *SingleUse[T]) Use(ctx context.Context, key ...any) (T, error) {
	var row *T
	err := s.u.t.Operation(ctx, "atomic.Use", func(ctx context.Context, op *observe.Op) error {
		return fail(s.u.run(ctx, op, key, func() reflect.Value {
			row = new(T) // an attempt that failed may have left something in the one before
			return reflect.ValueOf(row).Elem()
		}))
	})
	if err != nil {
		return *new(T), err
	}
	return *row, nil
}

// singleUse is the part of a SingleUse that does not depend on T.
type singleUse struct {
	useOptions
	t       *table.Table
	version *dialect.Ident
	where   string
	row     reflect.Type
	columns []fields.Column
	sql     *table.SQL[useSQL] // shared with the copies that are bound to transactions
}

func newSingleUse(db *sql.DB, name string, row reflect.Type, opts []Option) (singleUse, error) {
	t, o, given, err := bind(db, name, opts)
	if err != nil {
		return singleUse{}, err
	}
	u := singleUse{useOptions: o.use, t: t, version: o.version, where: o.where, row: row, sql: new(table.SQL[useSQL])}
	switch {
	case u.usedAt == nil && !u.deletes, u.usedAt != nil && u.deletes:
		return u, fmt.Errorf("%s: NewSingleUse takes one of UsedAt and DeleteUsed", t.Name)
	case u.deletes:
		err = given.Refuse("NewSingleUse with DeleteUsed, which leaves no version behind", "VersionColumn")
	}
	if err == nil {
		err = given.Refuse("NewSingleUse", "CreateMissing")
	}
	if err == nil {
		err = u.checkColumns()
	}
	if err != nil {
		return u, err
	}
	if u.columns, err = fields.Of(row, fields.Mapper()); err == nil {
		err = u.checkField()
	}
	if err != nil {
		return u, fmt.Errorf("%s: %w", t.Name, err)
	}
	t.Version = u.version
	if u.usedAt == nil {
		return u, nil
	}
	return u, t.Counts(*u.usedAt, u.version)
}

// checkColumns returns an error if a column has two purposes.
func (u *singleUse) checkColumns() error {
	seen := map[string]string{}
	for _, k := range u.t.Key {
		seen[strings.ToLower(k.String())] = "part of the key"
	}
	for _, c := range []struct {
		purpose string
		name    *dialect.Ident
	}{{"UsedAt", u.usedAt}, {"ExpiresAt", u.expiresAt}, {"the version", u.version}} {
		if c.name == nil {
			continue
		}
		folded := strings.ToLower(c.name.String())
		if other, twice := seen[folded]; twice {
			return fmt.Errorf("%s: column %q cannot be both %s and %s", u.t.Name, c.name, other, c.purpose)
		}
		seen[folded] = c.purpose
	}
	return nil
}

// checkField returns an error if the field for the column of UsedAt takes no time.
func (u *singleUse) checkField() error {
	for _, c := range u.columns {
		if u.usedAt != nil && strings.EqualFold(c.Name.String(), u.usedAt.String()) {
			if err := storeTime(reflect.New(c.Type).Elem(), time.Now()); err != nil {
				return fmt.Errorf("%v: the field for the column %q of UsedAt: %w", u.row, c.Name, err)
			}
		}
	}
	return nil
}

// run uses a row. fresh returns the empty T that an attempt fills.
func (u *singleUse) run(ctx context.Context, op *observe.Op, key Key, fresh func() reflect.Value) error {
	if err := u.t.CheckKey(key); err != nil {
		return err
	}
	if err := u.t.CheckFree(ctx, key); err != nil {
		return err
	}
	q, err := u.statements(ctx)
	if err != nil {
		return err
	}
	atOnce := func(r txn.Runner) error { return u.useAtOnce(ctx, r, q, key, fresh()) }
	switch {
	case q.atOnce && u.t.InTx(): // which must be one, since a use that can't be rolled back is lost
		err = u.t.InProven(ctx, op, atOnce)
	case q.atOnce:
		err = u.t.Statement(ctx, op, atOnce)
	case u.t.InTx() || q.rewritten: // what is read after the write makes it one that can lose an abort
		err = u.t.Transaction(ctx, op, func(r txn.Runner) error { return u.useLocked(ctx, r, q, key, fresh()) })
	default:
		err = u.t.LockAndWrite(ctx, op, func(r txn.Runner) error { return u.useLocked(ctx, r, q, key, fresh()) })
	}
	if err == nil || !q.atOnce && errors.As(err, new(*RefusedError)) {
		u.t.Wrote(ctx, key)
	}
	return u.at(key, err)
}

// at gives an error the row that it is about.
func (u *singleUse) at(key Key, err error) error {
	if err == nil || errors.As(err, new(*RefusedError)) {
		return err
	}
	err = fields.Explain(err, u.t.Key, "WithKey", u.row)
	return &placedError{place: fmt.Sprintf("%s at %v", u.t.Name, []any(key)), err: err}
}

// refused returns the error of a row that a finding says can't be used.
func (u *singleUse) refused(finding int, key Key) error {
	e := &RefusedError{Err: ErrConditionFailed, Table: u.t.Name.String(), Key: slices.Clone(key)}
	switch finding {
	case wasUsed:
		e.Err, e.Column = ErrUsed, u.usedAt.String()
	case isExpired:
		e.Err, e.Column = ErrExpired, u.expiresAt.String()
	}
	return e
}
