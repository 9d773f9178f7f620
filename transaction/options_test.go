package transaction_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/transaction"
)

func TestStatements(t *testing.T) {
	before := transaction.Before(func(ctx context.Context, tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, "SET LOCAL tenant = 'a'")
		return err
	})
	tests := []struct {
		name string
		opts []transaction.Option
		want []string
	}{
		{"default", []transaction.Option{asPostgres}, []string{"BEGIN", "UPDATE items SET stock = $1", "COMMIT"}},
		{"serializable", []transaction.Option{asPostgres, transaction.Serializable()},
			[]string{"BEGIN Serializable", "UPDATE items SET stock = $1", "COMMIT"}},
		{"isolation", []transaction.Option{asPostgres, transaction.Isolation(sql.LevelRepeatableRead)},
			[]string{"BEGIN Repeatable Read", "UPDATE items SET stock = $1", "COMMIT"}},
		{"read only", []transaction.Option{asPostgres, transaction.ReadOnly()},
			[]string{"BEGIN READ ONLY", "UPDATE items SET stock = $1", "COMMIT"}},
		{"before", []transaction.Option{before, asPostgres},
			[]string{"BEGIN", "SET LOCAL tenant = 'a'", "UPDATE items SET stock = $1", "COMMIT"}},
		{"mysql", []transaction.Option{transaction.WithDialect(nogap.MySQL)},
			[]string{"BEGIN", "UPDATE items SET stock = ?", "COMMIT"}},
		{"sqlite", []transaction.Option{asSQLite, transaction.Serializable()},
			[]string{"BEGIN", "UPDATE items SET stock = ?", "COMMIT"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := server(nil)
			db := s.DB()
			defer db.Close()
			require.NoError(t, transaction.Run(t.Context(), db, write, test.opts...))
			var got []string
			for _, c := range s.Calls() {
				line := c.String()
				if c.Kind == fakedb.Begin && c.Tx.Isolation != 0 {
					line += " " + sql.IsolationLevel(c.Tx.Isolation).String()
				}
				if c.Tx.ReadOnly {
					line += " READ ONLY"
				}
				got = append(got, line)
			}
			require.Subset(t, got, test.want)
			require.Equal(t, test.want[len(test.want)-2:], got[len(got)-2:])
		})
	}
}

// On SQLite the write lock is taken before the callback reads, unless it only reads.
func TestWriteLockComesFirst(t *testing.T) {
	for _, readOnly := range []bool{false, true} {
		s := server(nil)
		db := s.DB()
		defer db.Close()
		opts := []transaction.Option{asSQLite}
		if readOnly {
			opts = append(opts, transaction.ReadOnly())
		}
		var before []string
		require.NoError(t, transaction.Run(t.Context(), db, func(context.Context, *sqlx.Tx) error {
			before = s.Log()
			return nil
		}, opts...))
		writes := slices.ContainsFunc(before, func(q string) bool { return q != "BEGIN" })
		require.Equal(t, !readOnly, writes, before)
	}
}

func TestBadInput(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	tests := []struct {
		name string
		db   *sql.DB
		fn   func(context.Context, *sqlx.Tx) error
		opts []transaction.Option
		says string
	}{
		{"no db", nil, write, nil, "transaction: db is nil"},
		{"no callback", db, nil, nil, "transaction: the callback is nil"},
		{"nil option", db, write, []transaction.Option{nil}, "option 0 is nil"},
		{"attempts", db, write, []transaction.Option{transaction.MaxAttempts(0)}, "MaxAttempts(0) is less than 1"},
		{"backoff", db, write, []transaction.Option{transaction.Backoff(nil)}, "Backoff(nil)"},
		{"before", db, write, []transaction.Option{transaction.Before(nil)}, "Before(nil)"},
		{"level", db, write, []transaction.Option{transaction.Isolation(sql.LevelSnapshot)}, "Isolation(Snapshot)"},
		{"twice", db, write, []transaction.Option{transaction.ReadOnly(), transaction.ReadOnly()}, "ReadOnly is given twice"},
		{"two levels", db, write, []transaction.Option{transaction.Serializable(), transaction.Isolation(sql.LevelDefault)},
			"Isolation and Serializable contradict"},
		{"dialect", db, write, []transaction.Option{transaction.WithDialect(77)}, "Dialect(77)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := transaction.Run(t.Context(), test.db, test.fn, test.opts...)
			require.ErrorContains(t, err, test.says)
			require.ErrorContains(t, err, "transaction: ")
			require.Empty(t, s.Log())
		})
	}
}
