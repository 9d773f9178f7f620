package pessimistic

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fields"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/table"
)

// withRows locks rows and calls fn with them. operation is the name for observers.
func withRows[T any](
	ctx context.Context, operation string, db *sql.DB, rows *Rows, fn func(context.Context, *sqlx.Tx, []*T) error, opts []Option,
) error {
	c, _, err := configure(opts)
	if err != nil {
		return fail(err)
	}
	t, selects, err := names{rows.Table, rows.KeyColumns, rows.Columns, rowTypeOf[T](fields.Mapper())}.in(db)
	if err != nil {
		return fail(err)
	}
	return t.Operation(ctx, operation, func(ctx context.Context, op *observe.Op) error {
		locks, at, err := rowLocks(t, rows.Keys)
		if err != nil {
			return fail(err)
		}
		s, err := newSection(ctx, op, db, c)
		if err != nil {
			return fail(err)
		}
		clause, err := c.clause(s.server)
		if err != nil {
			return fail(err)
		}
		query := selects.one(s.server, t, clause, len(locks) > 1)
		var items []*T
		s.table, s.what, s.locks = t, locks[0], locks
		s.acquire = func(ctx context.Context, inServer *session) (err error) {
			items, err = lockAll[T](ctx, inServer, t, selects, query, locks, at)
			return err
		}
		s.callback = func(ctx context.Context, tx *sqlx.Tx) error { return fn(ctx, tx, items) }
		return s.run(ctx)
	})
}

// lockAll locks and reads rows, one by one in the order of the locks, and returns them in that of at. Only the server knows
// whether two keys are one row, say because it ignores case: then the keys that it has stored are equal.
func lockAll[T any](
	ctx context.Context, s *session, t *table.Table, q *selects, query *rowSelect, locks []*lock, at []int,
) (items []*T, err error) {
	done, err := s.prepare(ctx, query.Text, len(locks))
	if err != nil {
		return nil, s.explain(locks[0], err)
	}
	defer done()
	found, byStored := make([]*T, len(locks)), make(map[string]*T, len(locks))
	for i, l := range locks {
		item, stored, err := lockOne[T](ctx, s, t, q, query, l)
		if err != nil {
			return nil, err
		}
		if first, again := byStored[stored]; again {
			item = first
		}
		found[i], byStored[stored] = item, item
	}
	for _, i := range at {
		items = append(items, found[i])
	}
	return items, nil
}

// lockOne locks and reads one row. stored is the text of its key as it is stored, if the query reads it.
func lockOne[T any](
	ctx context.Context, s *session, t *table.Table, q *selects, query *rowSelect, l *lock,
) (item *T, stored string, err error) {
	var items []*T
	var texts []string
	look := func(prefix string) (err error) {
		items, texts, err = scanAll[T](ctx, s.tx, q, query.keys, prefix+query.Text, query.Args(l.key))
		return err
	}
	err = s.waitFor(ctx, l, t.Name, look)
	if err == nil && len(items) == 0 && s.server.MissesReinserted {
		// The statement waits for the row that was there when it began. If that one has been deleted, it does not see
		// another that was inserted in its place, by the same transaction for example.
		err = s.waitFor(ctx, l, t.Name, look)
	}
	switch {
	case err != nil:
		return nil, "", err
	case len(items) == 0:
		return nil, "", l.failed(sql.ErrNoRows)
	case len(items) > 1:
		return nil, "", l.failed(fmt.Errorf("%w: %d rows have it", nogap.ErrNotUnique, len(items)))
	case len(texts) == 1:
		stored = texts[0]
	}
	return items[0], stored, nil
}
