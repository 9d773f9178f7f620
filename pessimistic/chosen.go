package pessimistic

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
)

// lockChosen locks the rows of the condition, and returns those that it still chooses then, with their locks.
func lockChosen[T any](ctx context.Context, s *session, w *wanted) (items []*T, held []*lock, err error) {
	items = []*T{}
	locks, err := w.choose(ctx, s)
	if err != nil || len(locks) == 0 {
		return items, nil, err
	}
	if err := w.checkFree(ctx, s, locks); err != nil {
		return nil, nil, err
	}
	query := w.selects.oneWhere(s.server, w.table, w.Where, w.Args, w.clause)
	err = lockEach(ctx, s, w, query, locks, func(i int, item *T, _ string) error {
		if item != nil {
			items = append(items, item)
		}
		held = append(held, locks[i]) // PostgreSQL keeps the lock of a row that the condition no longer chooses
		return nil
	})
	return items, held, err
}

// choose returns the locks of the rows of the condition, none of which is taken.
func (w *wanted) choose(ctx context.Context, s *session) ([]*lock, error) {
	table := w.first()
	query := "SELECT " + s.server.QuoteAll(w.table.Key) + " FROM " + s.server.Quote(w.table.Name) + condition(w.Where) +
		" LIMIT " + strconv.Itoa(w.limit()+1)
	var keys []any
	err := s.waitFor(ctx, table, w.table.Name, func(prefix string) (err error) {
		keys, err = readKeys(ctx, s.tx, s.server, prefix+query, w.Args)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(keys) > w.limit():
		return nil, table.refused(s.waited.total, fmt.Errorf("%w: the Limit is %d", ErrTooManyRows, w.limit()))
	case len(keys) == 0:
		return nil, nil
	}
	locks, _, err := rowLocks(w.table, keys)
	return locks, err
}

// checkFree returns an error if another transaction around the call holds one of the locks.
func (w *wanted) checkFree(ctx context.Context, s *session, locks []*lock) error {
	keys := make([][]any, len(locks))
	for i, l := range locks {
		keys[i] = l.key
	}
	if at, err := w.table.CheckLocksIn(ctx, s.tx, s.mode.Exclusive(), keys...); err != nil {
		return locks[at].failed(err)
	}
	return nil
}

// readKeys runs a query for keys, and returns these as arguments of other statements.
func readKeys(ctx context.Context, tx nogap.Tx, s dialect.Server, query string, args []any) (keys []any, err error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		key := make(nogap.Key, len(types))
		if err := rows.Scan(pointers(key)...); err != nil {
			return nil, err
		}
		for i, t := range types {
			if key[i], err = s.Argument(key[i], t.DatabaseTypeName()); err != nil {
				return nil, fmt.Errorf("column %q of the key: %w", t.Name(), err)
			}
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// condition returns the WHERE of a condition of the program's own.
func condition(where string) string { return " WHERE (" + where + "\n)" } // a comment at its end must not swallow the rest
