package txn_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/sqlerr/sqlerrtest/sqlite"
	"github.com/nogap-go/nogap/internal/txn"
)

// Types as other libraries have them.
type (
	wrapped   struct{ nogap.Tx }            // says nothing of itself
	statistic struct{ *sql.DB }             // a pool
	committer struct{ *sql.DB }             // a pool and a transaction, as some wrappers are
	gormPool  struct{ nogap.Tx }            // *gorm.PreparedStmtDB
	gormTx    struct{ gormPool }            // *gorm.PreparedStmtTX
	nilMap    map[string]struct{ nogap.Tx } // a nil that is no pointer
	nilFunc   func() struct{ nogap.Tx }     // another one
	pointer   struct{ *sql.Tx }             // a transaction inside
	valueOf   struct{ wrapped }             // deep inside
)

func (committer) Commit() error              { return nil }
func (gormPool) GetDBConn() (*sql.DB, error) { return nil, nil }
func (gormTx) Commit() error                 { return nil }

func (nilMap) ExecContext(context.Context, string, ...any) (sql.Result, error)  { panic("called") }
func (nilMap) QueryContext(context.Context, string, ...any) (*sql.Rows, error)  { panic("called") }
func (nilMap) QueryRowContext(context.Context, string, ...any) *sql.Row         { panic("called") }
func (nilFunc) ExecContext(context.Context, string, ...any) (sql.Result, error) { panic("called") }
func (nilFunc) QueryContext(context.Context, string, ...any) (*sql.Rows, error) { panic("called") }
func (nilFunc) QueryRowContext(context.Context, string, ...any) *sql.Row        { panic("called") }

func TestCheckTx(t *testing.T) {
	server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
	db := server.DB()
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	const isNil, pool = "the transaction is nil", "is a pool of connections and no transaction"
	for _, tt := range []struct {
		name string
		tx   nogap.Tx
		want string
	}{
		{"nil", nil, isNil},
		{"nil *sql.Tx", (*sql.Tx)(nil), isNil},
		{"nil *sqlx.Tx", (*sqlx.Tx)(nil), isNil},
		{"nil *sql.DB", (*sql.DB)(nil), isNil},
		{"nil map", nilMap(nil), isNil},
		{"nil func", nilFunc(nil), isNil},
		{"*sql.DB", db, "*sql.DB " + pool},
		{"*sqlx.DB", sqlx.NewDb(db, "postgres"), "*sqlx.DB " + pool},
		{"a wrapped pool", statistic{db}, pool},
		{"a pointer to one", &statistic{db}, pool},
		{"GORM's pool", gormPool{}, pool},
		{"GORM's transaction", gormTx{}, ""},
		{"a pool that commits", committer{db}, ""},
		{"*sql.Tx", tx, ""},
		{"*sqlx.Tx", &sqlx.Tx{Tx: tx}, ""},
		{"*sql.Conn", conn, ""},
		{"wrapped", wrapped{tx}, ""},
		{"embedded", pointer{tx}, ""},
		{"embedded twice", valueOf{wrapped{tx}}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := txn.CheckTx(tt.tx)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
	require.Equal(t, []string{"BEGIN"}, server.Log(), "nothing is sent")
}

func TestProveTx(t *testing.T) {
	noTransaction, failed := &pgError{"ERROR", "25P01"}, &pgError{"ERROR", "25P02"}
	within := &sqlite.Coded{C: 1} // cannot start a transaction within a transaction
	for _, tt := range []struct {
		name string
		d    nogap.Dialect
		fail map[string]error
		want error
		none bool // it is said to be none
		log  []string
	}{
		{name: "a transaction", d: nogap.Postgres, log: []string{"SAVEPOINT nogap", "RELEASE SAVEPOINT nogap"}},
		{name: "none", d: nogap.Postgres, fail: map[string]error{"SAVEPOINT nogap": noTransaction}, want: noTransaction, none: true,
			log: []string{"SAVEPOINT nogap"}},
		{name: "one that has failed", d: nogap.Postgres, fail: map[string]error{"SAVEPOINT nogap": failed}, want: failed,
			log: []string{"SAVEPOINT nogap"}},
		{name: "a connection that is lost", d: nogap.Postgres, fail: map[string]error{"SAVEPOINT nogap": errDriver}, want: errDriver,
			log: []string{"SAVEPOINT nogap"}},
		{name: "none on MySQL", d: nogap.MySQL, fail: map[string]error{"RELEASE SAVEPOINT nogap": &MySQLError{Number: 1305}}, none: true,
			log: []string{"SAVEPOINT nogap", "RELEASE SAVEPOINT nogap"}},
		{name: "SQLite", d: nogap.SQLite, fail: map[string]error{"BEGIN": within}, log: []string{"BEGIN"}},
		{name: "none on SQLite", d: nogap.SQLite, none: true, log: []string{"BEGIN", "ROLLBACK"}},
		{name: "SQLite's connection is lost", d: nogap.SQLite, fail: map[string]error{"BEGIN": errDriver}, want: errDriver, log: []string{"BEGIN"}},
		{name: "SQLite is busy", d: nogap.SQLite, fail: map[string]error{"BEGIN": &sqlite.Coded{C: 5}}, want: &sqlite.Coded{C: 5}, log: []string{"BEGIN"}},
		{name: "SQLite can't undo it", d: nogap.SQLite, fail: map[string]error{"ROLLBACK": errDriver}, want: errDriver, none: true,
			log: []string{"BEGIN", "ROLLBACK"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
				return fakedb.Reply{}, tt.fail[c.Query]
			})
			db := server.DB()
			defer db.Close()
			s, err := dialect.Assume(tt.d)
			require.NoError(t, err)
			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			defer conn.Close()
			err = txn.ProveTx(t.Context(), conn, s)
			switch {
			case tt.none:
				require.ErrorContains(t, err, "*sql.Conn is in no transaction")
			case tt.want == nil:
				require.NoError(t, err)
			default:
				require.NotContains(t, err.Error(), "no transaction")
			}
			for _, fail := range tt.fail {
				require.Equal(t, err != nil && fail != error(within), errors.Is(err, fail))
			}
			require.Equal(t, tt.log, server.Log())
		})
	}
}

// The types whose name says it are believed.
func TestProveTxBelieves(t *testing.T) {
	server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
	db := server.DB()
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	for d := nogap.Postgres; d <= nogap.SQLite; d++ {
		s, err := dialect.Assume(d)
		require.NoError(t, err)
		require.NoError(t, txn.ProveTx(t.Context(), tx, s))
		require.NoError(t, txn.ProveTx(t.Context(), &sqlx.Tx{Tx: tx}, s))
	}
	require.Equal(t, []string{"BEGIN"}, server.Log())
}

// A context that ends in mid-proof leaves neither SQLite's BEGIN nor a savepoint.
func TestProveTxIsCancelled(t *testing.T) {
	for d, want := range map[nogap.Dialect][]string{
		nogap.SQLite:   {"BEGIN", "ROLLBACK"},
		nogap.Postgres: {"SAVEPOINT nogap", "RELEASE SAVEPOINT nogap"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if c.Kind == fakedb.Exec {
				cancel() // when the server has carried it out
			}
			return fakedb.Reply{}, nil
		})
		db := server.DB()
		s, err := dialect.Assume(d)
		require.NoError(t, err)
		conn, err := db.Conn(t.Context())
		require.NoError(t, err)
		txn.ProveTx(ctx, conn, s)
		require.Equal(t, want, server.Log())

		require.ErrorIs(t, txn.ProveTx(ctx, conn, s), context.Canceled)
		require.Equal(t, want, server.Log(), "nothing is sent for a context that has ended")
		require.NoError(t, conn.Close())
		require.NoError(t, db.Close())
	}
}
