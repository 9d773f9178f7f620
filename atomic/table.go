package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/rowkey"
	"github.com/nogap-go/nogap/internal/txn"
)

// Key identifies a row: one value for each key column, "id" unless WithKey names others.
type Key []any

// table is what Counter, Set and State have in common: where they write, and in whose transaction.
type table struct {
	db     *sql.DB
	source dialect.Source
	name   dialect.Ident
	key    []dialect.Ident
	inTx   bool
	tx     *sql.Tx // the caller's, if inTx
}

func newTable(db *sql.DB, name string, o options) (table, error) {
	source, err := dialect.NewSource(db, o.dialect)
	if err != nil {
		return table{}, err
	}
	ident, err := dialect.Table(name)
	if err != nil {
		return table{}, err
	}
	return table{db: db, source: source, name: ident, key: o.key}, nil
}

// within returns the table as the statements of tx see it.
func (t table) within(tx *sql.Tx) table {
	t.inTx, t.tx = true, tx
	return t
}

// statement runs do, which sends single statements, each in a transaction of its own; again if the server asks for that
// after it has undone one. In the caller's transaction nothing is repeated.
func (t *table) statement(ctx context.Context, do func(txn.Runner) error) error {
	if t.inTx {
		return t.inCallers(do)
	}
	return txn.Retry(ctx, txn.Policy{}, func() error {
		err := txn.With(ctx, t.db, func(c *txn.Conn) error { return do(c) })
		if errors.Is(err, errNotUnique) { // and there is no transaction to roll back
			err = fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, err)
		}
		return err
	})
}

// transaction runs do, which sends several statements of which all or none take effect. In the caller's transaction a
// savepoint sees to that.
func (t *table) transaction(ctx context.Context, do func(txn.Runner) error) error {
	if t.inTx {
		return t.inCallers(func(r txn.Runner) error { return savepoint(ctx, r, do) })
	}
	return txn.Retry(ctx, txn.Policy{}, func() error {
		return txn.Do(ctx, t.db, nil, func(tx *sql.Tx) error { return do(txn.In(tx)) })
	})
}

func (t *table) inCallers(do func(txn.Runner) error) error {
	if t.tx == nil {
		return errors.New("the transaction given to WithTx is nil")
	}
	return do(txn.In(t.tx))
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

// server returns what the database is. It asks over a connection of its own, but in the caller's transaction over that
// one, which may hold the pool's last.
func (t *table) server(ctx context.Context) (s dialect.Server, err error) {
	err = t.statement(ctx, func(r txn.Runner) error {
		s, err = t.source.Server(ctx, r)
		return err
	})
	return s, err
}

func (t *table) checkKey(key Key) error {
	for _, v := range key {
		switch v.(type) {
		case Key, []any:
			return fmt.Errorf("a value of the key of %s is a whole key, which must be spread with three dots", t.name)
		}
	}
	if len(key) != len(t.key) {
		return fmt.Errorf("a key of %s has %d values (%s), got %d", t.name, len(t.key), names(t.key), len(key))
	}
	for i, v := range key {
		if rowkey.IsNull(v) {
			return fmt.Errorf("%s.%s is NULL, which equals nothing", t.name, t.key[i])
		}
	}
	return nil
}

func names(ids []dialect.Ident) string {
	s := make([]string, len(ids))
	for i, id := range ids {
		s[i] = id.String()
	}
	return strings.Join(s, ", ")
}

// fail gives an error the package's name, which a *RefusedError has already.
func fail(err error) error {
	if err == nil {
		return nil
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		return err
	}
	return fmt.Errorf("atomic: %w", err)
}
