// Package table binds a table of a database: its name and key columns, the server, the SQL that is built for it once, the
// transaction in which its statements run, and who observes them. Every user package that speaks SQL stands on it.
package table

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/perdb"
	"github.com/nogap-go/nogap/internal/rowkey"
	"github.com/nogap-go/nogap/internal/txn"
)

// Table is a table of one database, as a user package sees it. A Table that is bound to a transaction is a copy; see In.
type Table struct {
	Name dialect.Ident
	// Key are the columns that identify a row, together.
	Key []dialect.Ident
	// Policy says how often Statement and Transaction try, and how long they wait in between.
	Policy txn.Policy

	db        *sql.DB
	source    dialect.Source
	classify  observe.Classify
	observers *perdb.List
	id        string // names the table and its key among the locks of the database

	inTx  bool
	tx    nogap.Tx
	txErr error // why tx can't be used
}

// Options say what Bind does not know from the names.
type Options struct {
	// Key are the key columns: "id" if there are none.
	Key []dialect.Ident
	// Dialect is what the server is said to speak; zero if it is to be asked.
	Dialect nogap.Dialect
	// Policy is that of Statement and Transaction.
	Policy txn.Policy
	// Classify names the outcome of the user package's own errors, for observers.
	Classify observe.Classify
}

// Bind returns the Table of that name. Nothing is sent to the server.
func Bind(db *sql.DB, name string, o Options) (*Table, error) {
	source, err := dialect.NewSource(db, o.Dialect)
	if err != nil {
		return nil, err
	}
	ident, err := dialect.Table(name)
	if err != nil {
		return nil, err
	}
	if len(o.Key) == 0 {
		o.Key, _ = dialect.Columns("id")
	}
	return &Table{
		Name: ident, Key: o.Key, Policy: o.Policy,
		db: db, source: source, classify: o.Classify, observers: perdb.Observers.Of(db, nil),
		id: ident.String() + "(" + names(o.Key) + ")",
	}, nil
}

// In returns the Table whose statements are part of tx. What is no transaction is an error of all that is done with it.
func (t *Table) In(tx nogap.Tx) *Table {
	inTx := *t
	inTx.inTx, inTx.tx, inTx.txErr = true, tx, txn.CheckTx(tx)
	return &inTx
}

// InTx reports whether the Table is bound to a transaction of the caller's.
func (t *Table) InTx() bool { return t.inTx }

// DB returns the database.
func (t *Table) DB() *sql.DB { return t.db }

// Operation calls f and shows it to those who observe the database, under the name of the public method, such as
// "atomic.Decrement".
func (t *Table) Operation(ctx context.Context, name string, f func(context.Context, *observe.Op) error) error {
	return observe.Do(ctx, t.observers, nogap.Operation{Name: name, Table: t.Name.String()}, t.classify, f)
}

// CheckKey returns an error if key can't be the key of a row.
func (t *Table) CheckKey(key []any) error {
	for _, v := range key {
		switch v.(type) {
		case nogap.Key, []any:
			return fmt.Errorf("a value of the key of %s is a whole key, which must be spread with three dots", t.Name)
		}
	}
	if len(key) != len(t.Key) {
		return fmt.Errorf("a key of %s has %d values (%s), got %d", t.Name, len(t.Key), names(t.Key), len(key))
	}
	for i, v := range key {
		if rowkey.IsNull(v) {
			return fmt.Errorf("%s.%s is NULL, which equals nothing", t.Name, t.Key[i])
		}
	}
	return nil
}

// CheckFree returns an error if a write of the row would wait for a transaction in whose callback the call is made. In
// the caller's own transaction it would not.
func (t *Table) CheckFree(ctx context.Context, key []any) error {
	if t.inTx || !holding.Within(ctx) {
		return nil
	}
	if err := holding.Check(ctx, t.db, true, t.Lock(key)); err != nil {
		return fmt.Errorf("%s at %v: %w", t.Name, key, err)
	}
	return nil
}

// Wrote notes that the row has been written, and so is locked until the end of the transaction, if it is that of a
// callback around the call.
func (t *Table) Wrote(ctx context.Context, key []any) {
	if t.inTx && holding.Within(ctx) {
		holding.Add(ctx, t.tx, t.Lock(key))
	}
}

// Lock returns the name of the lock of a row.
func (t *Table) Lock(key []any) holding.Lock {
	text, _ := rowkey.Text(key)
	return holding.Lock{Table: t.id, Key: text}
}

// Server returns what the database is. r is what the caller sends its statements with: taking another connection from the
// pool while holding one can wait for ever.
func (t *Table) Server(ctx context.Context, r txn.Runner) (dialect.Server, error) {
	return t.source.Server(ctx, r)
}

// Statement runs do, which sends single statements, each in a transaction of its own; again if the server asks for that
// after it has undone one. In the caller's transaction nothing is repeated.
func (t *Table) Statement(ctx context.Context, op *observe.Op, do func(txn.Runner) error) error {
	if t.inTx {
		return t.inCallers(op, do)
	}
	return t.retry(ctx, op, func() error { return t.OneStatement(ctx, do) })
}

// OneStatement runs do as Statement does, but once. It is for those who start again with a read of their own.
func (t *Table) OneStatement(ctx context.Context, do func(txn.Runner) error) error {
	if t.inTx {
		return t.inCallers(nil, do)
	}
	return txn.LockTimeout(txn.With(ctx, t.db, func(c *txn.Conn) error { return do(c) }))
}

// Transaction runs do, which sends several statements of which all or none take effect. In the caller's transaction a
// savepoint sees to that.
func (t *Table) Transaction(ctx context.Context, op *observe.Op, do func(txn.Runner) error) error {
	if !t.inTx {
		return t.retry(ctx, op, func() error { return t.OneTransaction(ctx, do) })
	}
	return t.inCallers(op, func(r txn.Runner) error {
		s, err := t.Server(ctx, r)
		if err == nil {
			err = txn.ProveTx(ctx, t.tx, s)
		}
		if err != nil {
			return err
		}
		return savepoint(ctx, r, do)
	})
}

// OneTransaction runs do in a transaction of its own, once.
func (t *Table) OneTransaction(ctx context.Context, do func(txn.Runner) error) error {
	return txn.Do(ctx, t.db, nil, func(tx *sql.Tx) error { return do(txn.In(tx)) })
}

func (t *Table) retry(ctx context.Context, op *observe.Op, do func() error) error {
	return txn.LockTimeout(txn.Retry{Policy: t.Policy}.Do(ctx, func(n int) error {
		op.Attempt(n)
		return do()
	}))
}

func (t *Table) inCallers(op *observe.Op, do func(txn.Runner) error) error {
	if t.txErr != nil {
		return t.txErr
	}
	op.Attempt(1)
	return txn.LockTimeout(do(txn.In(t.tx)))
}

func savepoint(ctx context.Context, r txn.Runner, do func(txn.Runner) error) error {
	if _, err := r.Exec(ctx, "SAVEPOINT nogap"); err != nil {
		return err
	}
	if err := do(r); err != nil {
		for _, undo := range []string{"ROLLBACK TO SAVEPOINT nogap", "RELEASE SAVEPOINT nogap"} {
			if _, failed := r.Exec(context.WithoutCancel(ctx), undo); failed != nil {
				// After a deadlock MySQL has neither savepoint nor transaction left.
				return fmt.Errorf("%w (roll back: the savepoint could not be restored: %w)", err, failed)
			}
		}
		return err
	}
	_, err := r.Exec(ctx, "RELEASE SAVEPOINT nogap")
	return err
}

// KeyNames returns the names of the key columns, for errors.
func (t *Table) KeyNames() string { return names(t.Key) }

func names(ids []dialect.Ident) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = id.String()
	}
	return strings.Join(s, ", ")
}
