package optimistic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fields"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// Insert inserts item as a new row. All columns of T are written, except those of ReadOnly, which get their defaults.
//
// A column of the key is left to the server if its field is zero and the server makes its values: by IDENTITY, SERIAL
// or any default on PostgreSQL, by AUTO_INCREMENT on MySQL and MariaDB, by INTEGER PRIMARY KEY or any default on
// SQLite. Then the field gets the server's value. A zero in a key that the server does not make is a value. The first
// Insert asks the server which it is.
//
// An integer version begins with the value in item, which is usually zero. A timestamp, a random token and xmin begin
// with a new value, which item gets. After Insert item can be written by Update and Delete.
//
// If a unique index has the row already, the error is ErrDuplicate. (PostgreSQL then accepts nothing more in a
// transaction but its rollback.) If the connection is lost while the statement is under way, it is
// nogap.ErrOutcomeUnknown, unless the version is a random token, no part of the key was left to the server, and
// reading the token back shows that the row was inserted. After a deadlock or a serialization failure the statement
// is sent again, outside a transaction. After any error item is unchanged. See [Table] for the other errors and for
// the end of ctx.
//
// With WithTx item gets its key and its version too. If the transaction is rolled back, drop item: the row does not
// exist. A function that may run again, such as that of transaction.Run, must make a new item each time.
func (t *Table[T]) Insert(ctx context.Context, item *T) error {
	return t.t.Operation(ctx, "optimistic.Insert", func(ctx context.Context, op *observe.Op) error {
		if item == nil {
			return fail(t.t.nilItem())
		}
		return fail(t.t.insert(ctx, op, reflect.ValueOf(item).Elem()))
	})
}

// insertSQL is what must be known of a server and a table for an INSERT.
type insertSQL struct {
	server  dialect.Server
	makes   []bool // for each column of the key: the server makes its values
	version string // is returned, behind the key; empty if it is not
}

func (t *versionedTable) inserts(ctx context.Context) (*insertSQL, error) {
	return t.insertSQL.Of(ctx, t.Table, func(ctx context.Context, r txn.Runner, s dialect.Server, look dialect.Look) (*insertSQL, error) {
		if err := t.CheckWritten(look, dialect.Insert); err != nil {
			return nil, err
		}
		q := &insertSQL{server: s, makes: make([]bool, len(t.columns.key))}
		for i, c := range t.columns.key {
			question, args := s.MakesValues(t.Name, c.Name)
			if err := r.Read(ctx, question.Text, question.Args(args), &q.makes[i]); err != nil {
				return nil, t.failed(fmt.Errorf("finding out whether the server makes values of %q: %w", c.Name, err))
			}
		}
		switch {
		case t.kind == xminVersion:
			q.version = s.SystemVersion
		case t.kind == timestampVersion && s.OnConflict: // a trigger may set it
			q.version = s.Quote(t.columns.version.Name)
		}
		return q, nil
	})
}

// insertion is an INSERT of one row.
type insertion struct {
	table   *versionedTable
	sql     *insertSQL
	columns []dialect.Ident
	values  []any
	key     []any           // as the item has it
	left    []fields.Column // of the key, to the server
	made    []reflect.Value // their values, in the end
	version reflect.Value   // what the item gets; invalid if it keeps its own
}

func (t *versionedTable) insert(ctx context.Context, op *observe.Op, item reflect.Value) error {
	s, err := t.statements(ctx)
	if err != nil {
		return err
	}
	q, err := t.inserts(ctx)
	if err != nil {
		return err
	}
	in := &insertion{table: t, sql: q}
	if err := in.take(item); err != nil {
		return err
	}
	if err := t.CheckFree(ctx, in.key); err != nil {
		return err
	}
	err = t.Statement(ctx, op, func(r txn.Runner) error { return in.send(ctx, r) })
	if sqlerr.Of(err).Has(sqlerr.Unique) {
		err = fmt.Errorf("%w: %w", ErrDuplicate, err)
	}
	if err != nil && len(in.left) == 0 && in.version.IsValid() {
		w := &versionedWrite{table: t, sql: s, condition: append(in.key[:len(in.key):len(in.key)], nil), next: in.version}
		err = w.confirm(ctx, err)
	}
	if err != nil {
		return t.at(in.key, err)
	}
	in.store(item)
	t.Wrote(ctx, in.finalKey(item))
	return nil
}

// take takes what is written from the item.
func (in *insertion) take(item reflect.Value) error {
	t := in.table
	for i, c := range t.columns.key {
		v := cloneValue(c.Get(item))
		in.key = append(in.key, v)
		if in.sql.makes[i] && (v == nil || reflect.ValueOf(v).IsZero()) {
			in.left = append(in.left, c)
			in.made = append(in.made, reflect.New(c.Type))
			continue
		}
		in.columns, in.values = append(in.columns, c.Name), append(in.values, v)
	}
	if len(in.left) == 0 {
		if err := t.CheckKey(in.key); err != nil {
			return err
		}
	}
	for _, c := range t.columns.data {
		in.columns, in.values = append(in.columns, c.Name), append(in.values, c.Get(item))
	}
	return in.takeVersion(item)
}

func (in *insertion) takeVersion(item reflect.Value) (err error) {
	t := in.table
	c := t.columns.version
	switch t.kind {
	case xminVersion:
		in.version = reflect.New(c.Type).Elem()
		return nil
	case integerVersion:
		in.values = append(in.values, cloneValue(c.Get(item)))
	default:
		if in.version, err = t.kind.next(c.Type, nil); err != nil {
			return t.at(in.key, fmt.Errorf("version: %w", err))
		}
		in.values = append(in.values, in.version.Interface())
	}
	in.columns = append(in.columns, c.Name)
	return nil
}

// statement returns the INSERT.
func (in *insertion) statement() dialect.Statement {
	s := in.sql.server
	places := make([]string, len(in.values))
	for i := range places {
		places[i] = placeholder(i + 1)
	}
	text := "INSERT INTO " + s.Quote(in.table.Name) + " (" + s.QuoteAll(in.columns) + ") VALUES (" + strings.Join(places, ", ") + ")"
	if s.OnConflict {
		text += " RETURNING 1"
		for _, c := range in.left {
			text += ", " + s.Quote(c.Name)
		}
		if in.sql.version != "" {
			text += ", " + in.sql.version
		}
	}
	return s.Compile(text)
}

var errNotInserted = errors.New("a trigger, a rule or a policy of the server prevented the INSERT")

// send inserts the row, and reads what the server has made.
func (in *insertion) send(ctx context.Context, r txn.Runner) error {
	q := in.statement()
	if !in.sql.server.OnConflict {
		return in.execute(ctx, r, q)
	}
	dest := []any{new(int)}
	for _, made := range in.made {
		dest = append(dest, made.Interface())
	}
	version := reflect.New(in.table.columns.version.Type)
	if in.sql.version != "" {
		dest = append(dest, version.Interface())
	}
	err := r.QueryRow(ctx, q.Text, q.Args(in.values), dest...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return errNotInserted
	case err == nil && in.sql.version != "":
		in.version = version.Elem()
	}
	return err
}

// execute inserts the row where the server returns nothing but the number that it has made.
func (in *insertion) execute(ctx context.Context, r txn.Runner, q dialect.Statement) error {
	res, wrote, err := txn.ExecOne(ctx, r, q.Text, q.Args(in.values)...)
	switch {
	case err != nil:
		return err
	case !wrote:
		return errNotInserted
	case len(in.left) == 0:
		return nil
	}
	id, err := txn.LastInsertID(ctx, r, res)
	if err == nil {
		err = storeID(in.made[0].Elem(), id) // a table has one such column at most
	}
	if err != nil {
		return txn.Unread(r, err)
	}
	return nil
}

// store gives the item what the server has made, and its version.
func (in *insertion) store(item reflect.Value) {
	for i, c := range in.left {
		reflectx.FieldByIndexes(item, c.Index).Set(in.made[i].Elem())
	}
	if in.version.IsValid() {
		reflectx.FieldByIndexes(item, in.table.columns.version.Index).Set(in.version)
	}
}

func (in *insertion) finalKey(item reflect.Value) []any {
	key := make([]any, len(in.key))
	for i, c := range in.table.columns.key {
		key[i] = cloneValue(c.Get(item))
	}
	return key
}

// storeID stores a number that the server has made.
func storeID(field reflect.Value, id int64) error {
	if s, ok := field.Addr().Interface().(sql.Scanner); ok {
		return s.Scan(id)
	}
	switch {
	case field.Kind() == reflect.Pointer:
		field.Set(reflect.New(field.Type().Elem()))
		return storeID(field.Elem(), id)
	case field.CanInt() && !field.OverflowInt(id):
		field.SetInt(id)
	case field.CanUint() && !field.OverflowUint(uint64(id)):
		field.SetUint(uint64(id))
	case field.Kind() == reflect.String:
		field.SetString(strconv.FormatInt(id, 10))
	default:
		return fmt.Errorf("the key %d does not fit a %v", uint64(id), field.Type())
	}
	return nil
}
