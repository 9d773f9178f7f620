package atomic

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fields"
	"github.com/nogap-go/nogap/internal/table"
)

// column is one column of a table's rows, which guarded updates change.
type column struct {
	t       *table.Table
	name    dialect.Ident
	version *dialect.Ident // is counted up too; nil if there is none
	where   string         // a further condition, in brackets; empty if there is none
	creates bool           // a missing row is inserted
	number  dialect.Number
	sql     *table.SQL[columnSQL] // shared with the copies that are bound to transactions
}

func newColumn(db *sql.DB, tableName, name string, n dialect.Number, opts []Option) (column, error) {
	t, o, given, err := bind(db, tableName, opts)
	if err == nil {
		err = given.Refuse("a Counter or a State", useOptionNames...)
	}
	if err != nil {
		return column{}, err
	}
	ident, err := dialect.Column(name)
	if err != nil {
		return column{}, err
	}
	c := column{t: t, name: ident, version: o.version, where: o.where, creates: o.creates, number: n, sql: new(table.SQL[columnSQL])}
	if err := c.checkVersion(); err != nil {
		return column{}, err
	}
	t.Version = c.version
	return c, t.Counts(c.name, c.version)
}

// checkVersion returns an error if the version is a column that has another purpose.
func (c *column) checkVersion() error {
	if c.version == nil {
		return nil
	}
	version := c.version.String()
	if strings.EqualFold(version, c.name.String()) {
		return fmt.Errorf("%s: column %q cannot be both changed and the version", c.t.Name, version)
	}
	for _, k := range c.t.Key {
		if strings.EqualFold(version, k.String()) {
			return fmt.Errorf("%s: column %q cannot be both the version and part of the key", c.t.Name, version)
		}
	}
	return nil
}

// in returns the column as the statements of tx see it.
func (c column) in(tx nogap.Tx) column {
	c.t = c.t.In(tx)
	return c
}

// check returns an error if the row can't be written by the call.
func (c *column) check(ctx context.Context, key Key) error {
	if err := c.t.CheckKey(key); err != nil {
		return err
	}
	return c.t.CheckFree(ctx, key)
}

// at gives an error the row that it is about.
func (c *column) at(key []any, err error) error {
	err = fields.Explain(err, c.t.Key, "WithKey", nil)
	return &placedError{place: fmt.Sprintf("%s.%s at %v", c.t.Name, c.name, key), err: err}
}

// failed gives an error the row that the call was about and the package's name, unless it names its place already.
func (c *column) failed(err error, key Key) error {
	if isPlaced(err) {
		return fail(err)
	}
	return c.at(key, err)
}

// failedAll is failed for a call about several rows.
func (c *column) failedAll(err error, keys []Key) error {
	if isPlaced(err) {
		return fail(err)
	}
	return &placedError{place: fmt.Sprintf("%s.%s at %s", c.t.Name, c.name, listed(keys)), err: err}
}

func (c *column) refused(key []any, refusal error, current any) error {
	return &RefusedError{Err: refusal, Table: c.t.Name.String(), Column: c.name.String(), Key: slices.Clone(Key(key)), Current: current}
}
