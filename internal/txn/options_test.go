package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/txn"
)

// After runs on the transaction's connection when the transaction is over, on every path.
func TestAfter(t *testing.T) {
	boom := errors.New("boom")
	undo := func(ctx context.Context, conn *sql.Conn) error {
		_, err := conn.ExecContext(ctx, "UNDO")
		return err
	}
	tests := []struct {
		name string
		fail fakedb.Kind // Connect: none
		fn   func(cancel func()) error
		err  error
		log  []string
	}{
		{name: "commit", fn: func(func()) error { return nil }, log: []string{"BEGIN", "COMMIT", "UNDO"}},
		{name: "error", fn: func(func()) error { return boom }, err: boom, log: []string{"BEGIN", "ROLLBACK", "UNDO"}},
		{name: "cancel", fn: func(cancel func()) error { cancel(); return nil }, err: context.Canceled,
			log: []string{"BEGIN", "ROLLBACK", "UNDO"}},
		{name: "begin fails", fail: fakedb.Begin, err: boom, log: []string{"BEGIN", "ROLLBACK", "SELECT 1", "UNDO"}},
		{name: "panic", fn: func(func()) error { panic(boom) }, log: []string{"BEGIN", "ROLLBACK", "UNDO"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// In a bubble, where no busy machine makes a ROLLBACK take longer than its second.
			synctest.Test(t, func(t *testing.T) {
				s := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
					if c.Kind == tt.fail && c.Kind != fakedb.Connect {
						return fakedb.Reply{}, boom
					}
					return fakedb.Row(int64(1)), nil
				})
				db := s.DB()
				defer db.Close()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				run := func() error {
					return txn.DoWith(ctx, db, txn.Options{After: undo}, func(*sql.Tx) error { return tt.fn(cancel) })
				}
				if tt.name == "panic" {
					require.PanicsWithError(t, "boom", func() { run() })
				} else {
					require.ErrorIs(t, run(), tt.err)
				}
				require.Equal(t, tt.log, s.Log())
				require.Equal(t, 1, s.OpenConns())
				require.Zero(t, db.Stats().InUse)
			})
		})
	}
}

// What could not be undone must not reach the next user of the connection, and is no reason to deny a COMMIT.
func TestAfterFails(t *testing.T) {
	s := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
	db := s.DB()
	defer db.Close()
	err := txn.DoWith(t.Context(), db, txn.Options{
		After: func(context.Context, *sql.Conn) error { return errors.New("cannot") },
	}, func(*sql.Tx) error { return nil })
	require.NoError(t, err)
	require.Equal(t, []string{"BEGIN", "COMMIT"}, s.Log())
	require.Zero(t, s.OpenConns())
}

// A wrapper sees the connection and the transaction that DoWith uses, also when the first connection turns out dead.
func TestConnAndBegin(t *testing.T) {
	s := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
	db := s.DB()
	defer db.Close()
	var conn *sql.Conn
	var mine *sql.Tx
	err := txn.DoWith(t.Context(), db, txn.Options{
		Conn: func(ctx context.Context) (_ *sql.Conn, err error) { conn, err = db.Conn(ctx); return conn, err },
		Begin: func(ctx context.Context, c *sql.Conn, opts *sql.TxOptions) (_ *sql.Tx, err error) {
			require.Same(t, conn, c)
			mine, err = c.BeginTx(ctx, opts)
			return mine, err
		},
	}, func(tx *sql.Tx) error {
		require.Same(t, mine, tx)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"BEGIN", "COMMIT"}, s.Log())
}
