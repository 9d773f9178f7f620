package txn_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

// runners run f on a connection and in a transaction.
var runners = map[string]func(ctx context.Context, db *sql.DB, f func(txn.Runner) error) error{
	"Conn": func(ctx context.Context, db *sql.DB, f func(txn.Runner) error) error {
		return txn.With(ctx, db, func(c *txn.Conn) error { return f(c) })
	},
	"In": func(ctx context.Context, db *sql.DB, f func(txn.Runner) error) error {
		tx, err := db.Begin()
		if err != nil {
			return err
		}
		return errors.Join(f(txn.In(tx)), tx.Rollback())
	},
}

var errUncounted = errors.New("the driver does not count")

// uncounted is a result whose RowsAffected fails.
type uncounted struct{ sql.Result }

func (uncounted) RowsAffected() (int64, error) { return 0, errUncounted }

// uncounting is a Runner whose results can't be read.
type uncounting struct{ txn.Runner }

func (u uncounting) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	res, err := u.Runner.Exec(ctx, query, args...)
	return uncounted{res}, err
}

func TestExecOne(t *testing.T) {
	for name, run := range runners {
		for _, tt := range []struct {
			name  string
			rows  int64
			err   error
			read  bool // the count can be read
			wrote bool
			want  error
			// stands: the statement was applied, and stands already if it is not in a transaction.
			stands bool
		}{
			{name: "no row", read: true},
			{name: "one row", rows: 1, read: true, wrote: true},
			{name: "two rows", rows: 2, read: true, want: nogap.ErrNotUnique, stands: true},
			{name: "no count", rows: 1, want: errUncounted, stands: true},
			{name: "error", err: errLost, read: true, want: errLost},
		} {
			t.Run(name+"/"+tt.name, func(t *testing.T) {
				db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
					if c.Kind != fakedb.Exec {
						return fakedb.Reply{}, nil
					}
					return fakedb.Reply{RowsAffected: tt.rows}, tt.err
				})
				defer db.Close()
				err := run(t.Context(), db, func(r txn.Runner) error {
					if !tt.read {
						r = uncounting{r}
					}
					res, wrote, err := txn.ExecOne(t.Context(), r, "UPDATE")
					require.Equal(t, tt.wrote, wrote)
					require.Equal(t, err == nil, res != nil)
					return err
				})
				require.ErrorIs(t, err, tt.want)
				require.Equal(t, tt.stands && name == "Conn", errors.Is(err, nogap.ErrOutcomeUnknown), "%v", err)
			})
		}
	}
}

func TestSeveralRows(t *testing.T) {
	for name, run := range runners {
		for _, rows := range []int{0, 1, 2, 3} {
			t.Run(fmt.Sprintf("%s/%d", name, rows), func(t *testing.T) {
				server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) {
					r := fakedb.Reply{Columns: []string{"n"}}
					for i := range rows {
						r.Rows = append(r.Rows, []driver.Value{int64(i)})
					}
					return r, nil
				})
				db := server.DB()
				defer db.Close()
				want := []error{sql.ErrNoRows, nil, nogap.ErrNotUnique, nogap.ErrNotUnique}[rows]
				err := run(t.Context(), db, func(r txn.Runner) error {
					var n int
					err := r.Read(t.Context(), "SELECT", nil, &n)
					require.ErrorIs(t, err, want)
					require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown, "nothing was written")
					return r.QueryRow(t.Context(), "UPDATE", nil, &n)
				})
				require.ErrorIs(t, err, want)
				require.Equal(t, rows > 1 && name == "Conn", errors.Is(err, nogap.ErrOutcomeUnknown), "%v", err)
				require.Zero(t, db.Stats().InUse)
			})
		}
	}
}

// A statement that returns a number for each row that it writes is asked for that, and another one for their count. The number is a
// quotient, which is a decimal on CockroachDB.
func TestWriteOne(t *testing.T) {
	for name, run := range runners {
		for rows, want := range []error{nil, nil, nogap.ErrNotUnique} {
			db := fakedb.Open(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				switch c.Kind {
				case fakedb.Exec:
					return fakedb.Reply{RowsAffected: int64(rows)}, nil
				case fakedb.Query:
					return fakedb.Reply{Columns: []string{"one"}, Rows: slices.Repeat([][]driver.Value{{"1.00000000000000000000"}}, rows)}, nil
				}
				return fakedb.Reply{}, nil
			})
			for _, returns := range []bool{true, false} {
				err := run(t.Context(), db, func(r txn.Runner) error {
					wrote, err := txn.WriteOne(t.Context(), r, returns, "UPDATE")
					require.Equal(t, rows == 1, wrote)
					return err
				})
				require.ErrorIs(t, err, want)
				require.Equal(t, rows > 1 && name == "Conn", errors.Is(err, nogap.ErrOutcomeUnknown), "%v", err)
			}
			require.NoError(t, db.Close())
		}
	}
}

// What was applied and can't be read stands, if it is not in a transaction.
func TestApplied(t *testing.T) {
	for name, run := range runners {
		db := fakedb.Open(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
		err := run(t.Context(), db, func(r txn.Runner) error { return txn.Unread(r, errDriver) })
		require.ErrorIs(t, err, errDriver)
		require.ErrorContains(t, err, "applied")
		require.Equal(t, name == "Conn", errors.Is(err, nogap.ErrOutcomeUnknown))
		require.NoError(t, db.Close())
	}
}

// What belongs to a session is asked of no other connection.
func TestReadSessionIsNotRepeated(t *testing.T) {
	for _, lost := range []error{driver.ErrBadConn, io.EOF, &pgError{"FATAL", "57P01"}} {
		server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if c.Query == "SELECT LAST_INSERT_ID()" {
				return fakedb.Reply{}, lost
			}
			return fakedb.Reply{}, nil
		})
		db := server.DB()
		err := txn.With(t.Context(), db, func(c *txn.Conn) error {
			var id int
			return c.ReadSession(t.Context(), "SELECT LAST_INSERT_ID()", nil, &id)
		})
		require.ErrorIs(t, err, lost)
		require.Equal(t, []string{"SELECT LAST_INSERT_ID()"}, server.Log())
		require.Zero(t, db.Stats().InUse)
		require.NoError(t, db.Close())
	}
}
