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
	c, given, err := configure(opts)
	if err == nil {
		err = rows.check()
	}
	if err != nil {
		return fail(err)
	}
	t, selects, err := names{rows.Table, rows.KeyColumns, rows.Columns, rowTypeOf[T](fields.Mapper())}.in(db)
	if err != nil {
		return fail(err)
	}
	return t.Operation(ctx, operation, func(ctx context.Context, op *observe.Op) error {
		w, err := rows.in(t, selects)
		if err != nil {
			return fail(err)
		}
		s, err := newSection(ctx, op, db, c)
		if err != nil {
			return fail(err)
		}
		if w.clause, err = c.clause(s.server); err != nil {
			return fail(err)
		}
		if rows.Where != "" && s.server.GapLocks && !given.Has("Isolation") {
			s.Isolation = sql.LevelReadCommitted
		}
		var items []*T
		s.table, s.what, s.locks = t, w.first(), w.locks
		s.acquire = func(ctx context.Context, inServer *session) (err error) {
			var held []*lock
			if items, held, err = lockRows[T](ctx, inServer, w); err == nil && w.Where != "" {
				inServer.hold(ctx, held)
			}
			return err
		}
		s.callback = func(ctx context.Context, tx *sqlx.Tx) error { return fn(ctx, tx, items) }
		return s.run(ctx)
	})
}

// lockRows locks and reads the rows, one by one in the order of their keys. held are the locks that it took, also with an error.
func lockRows[T any](ctx context.Context, s *session, w *wanted) (items []*T, held []*lock, err error) {
	if w.Where != "" {
		return lockChosen[T](ctx, s, w)
	}
	return lockKeys[T](ctx, s, w)
}

// lockKeys locks the rows of the keys, and returns them in the order of these. Only the server knows whether two keys are one
// row, say because it ignores case: then the keys that it has stored are equal.
func lockKeys[T any](ctx context.Context, s *session, w *wanted) (items []*T, held []*lock, err error) {
	query := w.selects.one(s.server, w.table, w.clause, len(w.locks) > 1)
	found, byStored := make([]*T, len(w.locks)), make(map[string]*T, len(w.locks))
	err = lockEach(ctx, s, w, query, w.locks, func(i int, item *T, stored string) error {
		if item == nil {
			return w.locks[i].failed(sql.ErrNoRows)
		}
		held = append(held, w.locks[i])
		if first, again := byStored[stored]; again {
			item = first
		}
		found[i], byStored[stored] = item, item
		return nil
	})
	if err != nil {
		return nil, held, err
	}
	for _, i := range w.at {
		items = append(items, found[i])
	}
	return items, held, nil
}

// lockEach locks and reads rows one by one, in the order of the locks, and calls visit with each. item is nil if there is no
// such row. stored is the text of its key as it is stored, if the query reads it.
func lockEach[T any](
	ctx context.Context, s *session, w *wanted, query *rowSelect, locks []*lock, visit func(i int, item *T, stored string) error,
) error {
	done, err := s.prepare(ctx, query.text, len(locks))
	if err != nil {
		return s.explain(locks[0], err)
	}
	defer done()
	for i, l := range locks {
		item, stored, err := lockOne[T](ctx, s, w.table, w.selects, query, l)
		if err == nil {
			err = visit(i, item, stored)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lockOne locks and reads one row, as lockEach says.
func lockOne[T any](
	ctx context.Context, s *session, t *table.Table, q *selects, query *rowSelect, l *lock,
) (item *T, stored string, err error) {
	var items []*T
	var texts []string
	look := func(prefix string) (err error) {
		items, texts, err = scanAll[T](ctx, s.tx, q, query.keys, prefix+query.text, query.args(l.key))
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
		return nil, "", nil
	case len(items) > 1:
		return nil, "", l.failed(fmt.Errorf("%w: %d rows have it", nogap.ErrNotUnique, len(items)))
	case len(texts) == 1:
		stored = texts[0]
	}
	return items[0], stored, nil
}
