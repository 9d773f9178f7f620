package table

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/rowkey"
	"github.com/nogap-go/nogap/internal/txn"
)

// CheckLocks returns holding.ErrHeld if a transaction around the call holds the lock of one of the rows, which the call
// wants over another connection of db, and at which of the keys.
func (t *Table) CheckLocks(ctx context.Context, db *sql.DB, exclusive bool, keys ...[]any) (at int, err error) {
	if !holding.Within(ctx) {
		return 0, nil
	}
	for i, key := range keys { // first, since it sends nothing
		if err := holding.Check(ctx, db, exclusive, t.Lock(key)); err != nil {
			return i, err
		}
	}
	ask := func(ask func(txn.Runner) error) error {
		err := txn.With(ctx, db, func(c *txn.Conn) error { return ask(c) })
		if errors.Is(err, holding.ErrHeld) || ctx.Err() != nil {
			return err
		}
		return nil // what is wrong with the key or the table, the call itself will be told
	}
	return t.checkSpellings(ctx, holding.Others(ctx, db, exclusive), keys, ask)
}

// CheckLocksIn is CheckLocks for a call in a transaction.
func (t *Table) CheckLocksIn(ctx context.Context, tx nogap.Tx, exclusive bool, keys ...[]any) (at int, err error) {
	if !holding.Within(ctx) {
		return 0, nil
	}
	for i, key := range keys {
		if err := holding.CheckIn(ctx, tx, exclusive, t.Lock(key)); err != nil {
			return i, err
		}
	}
	ask := func(ask func(txn.Runner) error) error { return ask(txn.In(tx)) }
	return t.checkSpellings(ctx, holding.OthersIn(ctx, tx, exclusive), keys, ask)
}

func (t *Table) checkSpellings(
	ctx context.Context, held []holding.Held, keys [][]any, with func(func(txn.Runner) error) error,
) (at int, err error) {
	for i, key := range keys {
		if err := t.checkSpelling(ctx, held, key, with); err != nil {
			return i, err
		}
	}
	return 0, nil
}

// checkSpelling asks the server whether the row is one of those that are held, where its key or the table is spelt in
// another way. It asks over the connection that the call itself would use: an error there would break the transaction
// around it. It does not ask about other tables and other numbers.
func (t *Table) checkSpelling(ctx context.Context, held []holding.Held, key []any, with func(func(txn.Runner) error) error) error {
	for _, h := range held {
		suspects := t.suspects(h.Locks, key)
		if len(suspects) == 0 {
			continue
		}
		err := with(func(r txn.Runner) error {
			for _, s := range suspects {
				if same, err := t.isOne(ctx, r, h.Server, s, key); err != nil {
					return err
				} else if same {
					return holding.ErrHeld
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// suspect are rows that are held, of a table that may be this one.
type suspect struct {
	table dialect.Ident
	names string // of the key columns
	key   []dialect.Ident
	rows  [][]any
}

// suspects returns the rows that may be the one with the key.
func (t *Table) suspects(locks []holding.Lock, key []any) (all []*suspect) {
	ours := t.Lock(key)
	for _, l := range locks {
		values, known := rowkey.Values(l.Key)
		name, columns, ok := cutID(l.Table)
		if !known || !ok || !strings.EqualFold(name.Last(), t.Name.Last()) {
			continue
		}
		sameColumns := strings.EqualFold(names(columns), names(t.Key))
		if sameColumns && l.Key != ours.Key && rowkey.Apart(values, key) || len(values) != len(columns) {
			continue
		}
		i := slices.IndexFunc(all, func(s *suspect) bool { return s.table.String() == name.String() && s.names == names(columns) })
		if i < 0 {
			i, all = len(all), append(all, &suspect{table: name, names: names(columns), key: columns})
		}
		all[i].rows = append(all[i].rows, values)
	}
	return all
}

// cutID takes the id of a Table apart.
func cutID(id string) (name dialect.Ident, key []dialect.Ident, ok bool) {
	table, columns, found := strings.Cut(strings.TrimSuffix(id, ")"), "(")
	if !found {
		return name, nil, false
	}
	name, err := dialect.Table(table)
	if err == nil {
		key, err = dialect.Columns(strings.Split(columns, ", ")...)
	}
	return name, key, err == nil
}

// most is how many rows one statement asks about: all servers take as many values.
const most = 500

// isOne reports whether the row with the key is one of those that are held.
func (t *Table) isOne(ctx context.Context, r txn.Runner, server dialect.Server, s *suspect, key []any) (bool, error) {
	var same int
	if s.table.String() != t.Name.String() {
		q, args := server.SameTable(t.Name, s.table)
		if err := r.Read(ctx, q.Text, q.Args(args), &same); err != nil || same != 1 {
			return false, err
		}
	}
	for rows := range slices.Chunk(s.rows, max(1, most/len(s.key))) {
		q, args := t.oneOf(server, s, rows, key)
		switch err := r.Read(ctx, q.Text, q.Args(args), &same); {
		case err == nil:
			return true, nil
		case !errors.Is(err, sql.ErrNoRows):
			return false, err
		}
	}
	return false, nil
}

// oneOf selects 1 if the row with the key is one of some rows that are held. One that the other transaction has inserted is
// not seen: if it is named by the same columns, its values are compared as if they were the columns'.
func (t *Table) oneOf(server dialect.Server, s *suspect, rows [][]any, key []any) (q dialect.Statement, args []any) {
	args, held, named := slices.Clone(key), make([]string, len(rows)), make([]string, len(rows))
	for i, row := range rows {
		held[i], named[i] = "("+server.Equals(s.key, len(args)+1)+")", server.Values(len(s.key), len(args)+1)
		args = append(args, row...)
	}
	from, equals := " FROM "+server.Quote(t.Name), " WHERE "+server.Equals(t.Key, 1)
	text := "SELECT 1" + from + equals + " AND (" + strings.Join(held, " OR ") + ")"
	if strings.EqualFold(s.names, names(t.Key)) {
		typed := "SELECT " + server.QuoteAll(t.Key) + from + " WHERE 1 = 0 UNION ALL SELECT " + strings.Join(named, " UNION ALL SELECT ")
		text += " UNION ALL SELECT 1 FROM (" + typed + ") AS typed" + equals
	}
	return server.Compile(text + " LIMIT 1"), args
}
