package idempotency

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// entry is the row of a key.
type entry struct {
	fingerprint, result, shape []byte
	try                        int64 // which transaction has inserted it
}

// read returns the row of a key; found is false if there is none.
func read(ctx context.Context, r txn.Runner, q dialect.Statement, row []any) (e *entry, found bool, err error) {
	e = new(entry)
	err = r.Read(ctx, q.Text, q.Args(row), &e.fingerprint, &e.result, &e.shape, &e.try)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return e, err == nil, err
}

// stored returns the result of an entry for a call with a fingerprint, which may be nil.
func (s *store) stored(e *entry, fingerprint []byte) ([]byte, error) {
	switch {
	case len(fingerprint) > 0 && len(e.fingerprint) > 0 && !bytes.Equal(fingerprint, e.fingerprint):
		return nil, ErrKeyReused
	case e.result == nil:
		return nil, errNoResult
	case string(e.shape) != s.shape:
		return nil, fmt.Errorf("%w: it was stored as %s, and is asked for as %s", ErrTypeChanged, e.shape, s.shape)
	}
	return e.result, nil
}

// row returns the values by which the statements know a key.
func (s *store) row(key string, more ...any) []any {
	return append([]any{[]byte(s.scope), []byte(key)}, more...)
}

// newEntry is what is inserted before the callback runs.
type newEntry struct {
	row         []any // scope and key
	fingerprint []byte
	try         int64
}

// newNumber returns a number for a try, by which its row is known again.
func newNumber() int64 { return rand.Int64N(1 << 62) }

// insert inserts an entry, unless its key is there, and notes the session. prefix stands before the statement.
func (s *store) insert(
	ctx context.Context, r txn.Runner, q *statements, prefix string, e newEntry, session *dialect.Lost,
) (inserted bool, err error) {
	var fingerprint any // NULL
	if e.fingerprint != nil {
		fingerprint = e.fingerprint
	}
	text, args := prefix+q.insert.Text, q.insert.Args([]any{e.row[0], e.row[1], fingerprint, e.try})
	if q.server.OnConflict {
		err = r.QueryRow(ctx, text, args, &session.ID, &session.Transaction)
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return err == nil, err
	}
	res, err := r.Exec(ctx, text, args...)
	if sqlerr.Of(err).Has(sqlerr.Unique) {
		return false, nil
	}
	if err == nil && q.server.SessionInValue != "" {
		session.ID, err = res.LastInsertId()
	}
	return err == nil, err
}

// finish stores the result of a key that this transaction has inserted.
func finish(ctx context.Context, r txn.Runner, q *statements, row []any, data []byte, shape string) error {
	_, wrote, err := txn.ExecOne(ctx, r, q.finish.Text, q.finish.Args([]any{row[0], row[1], data, []byte(shape)})...)
	if err == nil && !wrote {
		err = errGone
	}
	return err
}
