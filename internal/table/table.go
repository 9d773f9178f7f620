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
	// Version is the column whose type the first look asks for, and Times says that it asks whether the driver cuts times.
	// They are set before the first use.
	Version *dialect.Ident
	Times   bool

	db        *sql.DB
	source    dialect.Source
	classify  observe.Classify
	observers *perdb.List
	text      string // the name as it was given, for observers
	id        string // names the table and its key among the locks of the database

	writing *writing // how the Table's columns are written; nil if nobody needs to know
	known   *known   // shared by all copies

	inTx  bool
	tx    nogap.Tx
	txErr error // why tx can't be used
	// foreign: tx was begun on another *sql.DB, or its type does not tell. What it says of its server is not kept.
	foreign bool
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
	t, err := Unbound(name, o)
	if err != nil {
		return nil, err
	}
	t.db, t.source, t.observers = db, source, perdb.Observers.Of(db, nil)
	t.known.session = sessions.Of(db, nil)
	return t, nil
}

// Unbound returns the Table of that name in a database that is not known. It has names, keys and locks, and no server.
// Nobody observes it.
func Unbound(name string, o Options) (*Table, error) {
	ident, err := dialect.Table(name)
	if err != nil {
		return nil, err
	}
	if len(o.Key) == 0 {
		o.Key, _ = dialect.Columns("id")
	}
	return &Table{
		Name: ident, Key: o.Key, Policy: o.Policy, classify: o.Classify, text: name, id: name + "(" + names(o.Key) + ")",
		known: new(known),
	}, nil
}

// In returns the Table whose statements are part of tx. What is no transaction is an error of all that is done with it.
func (t *Table) In(tx nogap.Tx) *Table {
	inTx := *t
	inTx.inTx, inTx.tx, inTx.txErr = true, tx, txn.CheckTx(tx)
	inTx.foreign = inTx.txErr == nil && txn.DBOf(tx) != t.db
	return &inTx
}

// By returns the Table with other key columns.
func (t *Table) By(key []dialect.Ident) *Table {
	other := *t
	other.Key, other.id = key, t.text+"("+names(key)+")"
	return &other
}

// Unobserved returns the Table without those who observe its database.
func (t *Table) Unobserved() *Table {
	other := *t
	other.observers = nil
	return &other
}

// InTx reports whether the Table is bound to a transaction of the caller's.
func (t *Table) InTx() bool { return t.inTx }

// DB returns the database.
func (t *Table) DB() *sql.DB { return t.db }

// Operation calls f and shows it to those who observe the database, under the name of the public method, such as
// "atomic.Decrement".
func (t *Table) Operation(ctx context.Context, name string, f func(context.Context, *observe.Op) error) error {
	return observe.Do(ctx, t.observers, nogap.Operation{Name: name, Table: t.text}, t.classify, f)
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
		return fmt.Errorf("a key of %s has one value for each of (%s), got %d", t.Name, names(t.Key), len(key))
	}
	for i, v := range key {
		if rowkey.IsNull(v) {
			return fmt.Errorf("%s.%s is NULL, which equals nothing", t.Name, t.Key[i])
		}
	}
	return nil
}

// CheckFree returns an error if a write of one of the rows would wait for a transaction in whose callback the call is made, and
// which is not the one that the Table is bound to.
func (t *Table) CheckFree(ctx context.Context, keys ...[]any) error {
	if !holding.Within(ctx) {
		return nil
	}
	var at int
	var err error
	if t.inTx {
		at, err = t.CheckLocksIn(ctx, t.tx, true, keys...)
	} else {
		at, err = t.CheckLocks(ctx, t.db, true, keys...)
	}
	if err != nil {
		return fmt.Errorf("%s at %v: %w", t.Name, keys[at], err)
	}
	return nil
}

// Wrote notes that the row has been written, and so is locked until the end of the transaction, if it is that of a
// callback around the call.
func (t *Table) Wrote(ctx context.Context, key []any) {
	if t.inTx && holding.Within(ctx) {
		holding.Add(ctx, t.tx, true, t.Lock(key))
	}
}

// Lock returns the name of the lock of a row.
func (t *Table) Lock(key []any) holding.Lock {
	text, _ := rowkey.Text(key)
	return holding.Lock{Table: t.id, Key: text}
}

// Server returns what the database is. r is what the caller sends its statements with: taking another connection from the
// pool while holding one can wait for ever.
func (t *Table) Server(ctx context.Context, r dialect.Reader) (dialect.Server, error) {
	if t.foreign {
		return t.source.Foreign(ctx, r)
	}
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
	return txn.LockTimeout(txn.With(ctx, t.db, func(c *txn.Conn) error {
		c.Reaches(t.source)
		if t.known.returns.Load() {
			c.Returns()
		}
		return do(c)
	}))
}

// Transaction runs do, which sends several statements of which all or none take effect. In the caller's transaction a
// savepoint sees to that.
func (t *Table) Transaction(ctx context.Context, op *observe.Op, do func(txn.Runner) error) error {
	if t.inTx {
		return t.InProven(ctx, op, func(r txn.Runner) error { return txn.Savepoint(ctx, r, do) })
	}
	s, err := t.Server(ctx, txn.Pool{DB: t.db})
	if err == nil {
		err = txn.CheckAborts(ctx, t.db, s)
	}
	if err != nil {
		return err
	}
	return t.LockAndWrite(ctx, op, do)
}

// LockAndWrite runs do, which first locks a row by reading it and then writes it, as Transaction does. It is for Tables that
// are bound to no transaction. Such a transaction loses no abort on any server; see txn.CheckAborts.
func (t *Table) LockAndWrite(ctx context.Context, op *observe.Op, do func(txn.Runner) error) error {
	return t.retry(ctx, op, func() error { return t.LockAndWriteOnce(ctx, do) })
}

// LockAndWriteOnce is LockAndWrite for those who start again by themselves.
func (t *Table) LockAndWriteOnce(ctx context.Context, do func(txn.Runner) error) error {
	return txn.Do(ctx, t.db, nil, func(tx *sql.Tx) error { return do(txn.In(tx)) })
}

// LockAndWriteMany is LockAndWriteOnce for a do that locks many rows by one read, which waits for none of them. Where a read
// that locks also locks the rows and gaps that it passes over, its transaction is one of READ COMMITTED, in which it does not.
func (t *Table) LockAndWriteMany(ctx context.Context, s dialect.Server, do func(*sql.Tx) error) error {
	var opts *sql.TxOptions
	if s.GapLocks {
		opts = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return txn.Do(ctx, t.db, opts, do)
}

// InProven runs do, which takes locks, in the transaction to which the Table is bound, after a proof that it is one: on a
// connection alone the locks would be lost at once.
func (t *Table) InProven(ctx context.Context, op *observe.Op, do func(txn.Runner) error) error {
	return t.inCallers(op, func(r txn.Runner) error {
		s, err := t.Server(ctx, r)
		if err == nil {
			err = txn.ProveTx(ctx, t.tx, s)
		}
		if err != nil {
			return err
		}
		return do(r)
	})
}

func (t *Table) retry(ctx context.Context, op *observe.Op, do func() error) error {
	return txn.LockTimeout(txn.Retry{Policy: t.Policy}.Do(ctx, func(n int) error {
		op.Attempt(n)
		return do()
	}))
}

// checkTx returns an error if statements must not be sent in the caller's transaction, if the Table is bound to one of its
// own database, whose server is known.
func (t *Table) checkTx(ctx context.Context) error {
	if !t.inTx || t.txErr != nil {
		return t.txErr
	}
	s, err := t.Server(ctx, txn.In(t.tx))
	if err != nil {
		return err
	}
	return t.checkAborts(ctx, s)
}

// checkAborts returns an error if the caller's transaction can lose an abort.
func (t *Table) checkAborts(ctx context.Context, s dialect.Server) error {
	if !t.inTx {
		return nil
	}
	return txn.CheckAbortsIn(ctx, txn.DBOf(t.tx), t.tx, s)
}

func (t *Table) inCallers(op *observe.Op, do func(txn.Runner) error) error {
	if t.txErr != nil {
		return t.txErr
	}
	op.Attempt(1)
	return txn.LockTimeout(do(txn.In(t.tx)))
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
