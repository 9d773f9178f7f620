package atomic

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/rowkey"
	"github.com/nogap-go/nogap/internal/sqlerr"
	"github.com/nogap-go/nogap/internal/txn"
)

// Set keeps rows that are there once or not at all: who likes which post, which event has been handled. The server's
// unique index decides who was first; that it exists is checked at the first use.
//
// Other columns of the table need a default. Errors of the connection, contexts and repetition are as those of Counter.
// A Set is safe for concurrent use.
type Set struct {
	table
	sql *atomic.Pointer[setSQL]
}

type setSQL struct {
	add, remove dialect.Statement
	// present looks for a member in a way that sees what made an INSERT fail; unset where no INSERT fails.
	present dialect.Statement
}

// NewSet returns the Set of a table whose members are the values of the named columns:
//
//	likes, err := atomic.NewSet(db, "likes", "post_id", "user_id")
//
// The columns are strings. Behind them Options may stand, of which only WithDialect means something to a Set.
func NewSet(db *sql.DB, table string, columns ...any) (*Set, error) {
	var key []string
	var opts []Option
	for _, c := range columns {
		switch c := c.(type) {
		case string:
			key = append(key, c)
		case Option:
			opts = append(opts, c)
		default:
			return nil, fail(fmt.Errorf("NewSet takes names of columns and options, not %T", c))
		}
	}
	if len(key) == 0 {
		return nil, fail(errors.New("NewSet names no column"))
	}
	o, err := newOptions(opts)
	if err == nil && o.given {
		err = errors.New("WithKey is not for a Set, whose columns are the key")
	}
	if err == nil {
		o.key, err = dialect.Columns(key...)
	}
	if err != nil {
		return nil, fail(err)
	}
	t, err := newTable(db, table, o)
	if err != nil {
		return nil, fail(err)
	}
	return &Set{t, new(atomic.Pointer[setSQL])}, nil
}

// WithTx returns a Set whose statements are part of tx, as Counter.WithTx does.
func (s *Set) WithTx(tx *sql.Tx) *Set {
	return &Set{s.within(tx), s.sql}
}

// Add inserts the member, of which it takes one value for each column. It returns true to the one caller that inserted
// it, and false if it was there. It costs one round trip; on MySQL and MariaDB a member that was there costs two.
func (s *Set) Add(ctx context.Context, member ...any) (added bool, err error) {
	err = s.run(ctx, member, func(r txn.Runner, q *setSQL) error {
		added, err = s.add(ctx, r, q, member)
		return err
	})
	return added && err == nil, err
}

// Remove deletes the member. It returns true to the one caller that deleted it, and false if it was not there.
func (s *Set) Remove(ctx context.Context, member ...any) (removed bool, err error) {
	err = s.run(ctx, member, func(r txn.Runner, q *setSQL) error {
		res, err := r.Exec(ctx, q.remove.Text, q.remove.Args(member)...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		removed = n > 0
		return err
	})
	return removed && err == nil, err
}

func (s *Set) checkMember(member []any) error {
	if err := s.checkKey(member); err != nil {
		return err
	}
	for i, v := range member {
		if rowkey.IsNull(v) {
			return fmt.Errorf("%s is NULL, which no unique index tells from another NULL", s.key[i])
		}
	}
	return nil
}

func (s *Set) run(ctx context.Context, member []any, do func(txn.Runner, *setSQL) error) error {
	if err := s.checkMember(member); err != nil {
		return fail(err)
	}
	q, err := s.statements(ctx)
	if err != nil {
		return fail(err)
	}
	return fail(s.statement(ctx, func(r txn.Runner) error { return do(r, q) }))
}

func (s *Set) add(ctx context.Context, r txn.Runner, q *setSQL, member []any) (bool, error) {
	if q.present.Text == "" {
		// A row comes back only if it was inserted; the number of affected rows is not to be trusted on CockroachDB.
		var one int
		err := r.QueryRow(ctx, q.add.Text, q.add.Args(member), &one)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return false, nil
		case sqlerr.Of(err).Has(sqlerr.NoArbiter):
			return false, fmt.Errorf("%w: %w", s.noIndex(), err)
		}
		return err == nil, err
	}
	for turn := 1; ; turn++ {
		_, err := r.Exec(ctx, q.add.Text, q.add.Args(member)...)
		if err == nil || !sqlerr.Of(err).Has(sqlerr.Unique) {
			return err == nil, err
		}
		var one int
		read := r.Read(ctx, q.present.Text, q.present.Args(member), &one)
		if !errors.Is(read, sql.ErrNoRows) {
			return false, read
		}
		if turn == maxTurns {
			return false, err // another unique index refuses the row
		}
		// Else somebody may have removed the member in between.
	}
}

func (s *Set) statements(ctx context.Context) (*setSQL, error) {
	if q := s.sql.Load(); q != nil {
		return q, nil
	}
	server, err := s.server(ctx)
	if err != nil {
		return nil, err
	}
	// PostgreSQL refuses an ON CONFLICT without its index by itself; see add.
	if server.Dialect != nogap.Postgres {
		if err := s.checkIndex(ctx, server); err != nil {
			return nil, err
		}
	}
	q := s.build(server)
	s.sql.Store(q)
	return q, nil
}

func (s *Set) build(server dialect.Server) *setSQL {
	values := make([]string, len(s.key))
	for i := range s.key {
		values[i] = "{" + strconv.Itoa(i+1) + "}"
	}
	name, columns := server.Quote(s.name), server.QuoteAll(s.key)
	insert := "INSERT INTO " + name + " (" + columns + ") VALUES (" + strings.Join(values, ", ") + ")"
	where := " FROM " + name + " WHERE " + server.Equals(s.key, 1)
	q := &setSQL{remove: server.Compile("DELETE" + where)}
	if server.IsMySQL() {
		// INSERT IGNORE would hide other errors too. The refused INSERT holds a shared lock on the row already; a
		// locking read sees it whatever the snapshot of the transaction is.
		q.add = server.Compile(insert)
		q.present = server.Compile("SELECT 1" + where + " LIMIT 1 LOCK IN SHARE MODE")
		return q
	}
	q.add = server.Compile(insert + " ON CONFLICT (" + columns + ") DO NOTHING RETURNING 1")
	return q
}
