package pessimistic_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/pessimistic"
)

// A *sqlx.Tx that is made by hand has no mapper of its own.
func TestLockRowInAnyTransaction(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	for _, tx := range []nogap.Tx{tx, &sqlx.Tx{Tx: tx}, (&sqlx.Tx{Tx: tx}).Unsafe()} {
		it, err := pessimistic.LockRow[item](t.Context(), tx, itemOne, asPostgres)
		require.NoError(t, err)
		require.Equal(t, item{1, 100}, *it)
	}
	require.Equal(t, []string{"BEGIN", lockItem, lockItem, lockItem}, s.Log(), "nothing is to be proved")
}

const lockItem = `SELECT "id", "stock" FROM "items" WHERE "id" = $1 FOR UPDATE`

// What is no transaction would lose the lock at once. Nothing is sent to it.
func TestLockRowRefusesWhatIsNoTransaction(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	for want, txs := range map[string][]nogap.Tx{
		"the transaction is nil": {nil, (*sql.Tx)(nil), (*sqlx.Tx)(nil), &sqlx.Tx{}},
		"is a pool":              {db, sqlx.NewDb(db, "postgres")},
	} {
		for _, tx := range txs {
			_, err := pessimistic.LockRow[item](t.Context(), tx, itemOne)
			require.ErrorContains(t, err, "pessimistic: ")
			require.ErrorContains(t, err, want, "%T", tx)
		}
	}
	require.Empty(t, s.Log())
}

// A *sql.Conn may be in a transaction that was begun by hand, so it is asked to prove it.
func TestLockRowProvesAConnection(t *testing.T) {
	began := false
	s := server(func(c fakedb.Call) error {
		switch {
		case c.Query == "BEGIN":
			began = true
		case c.Query == "SAVEPOINT nogap" && !began:
			return stateError("25P01")
		}
		return nil
	})
	db := s.DB()
	defer db.Close()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = pessimistic.LockRow[item](t.Context(), conn, itemOne, asPostgres)
	require.ErrorContains(t, err, "*sql.Conn is in no transaction")
	require.Equal(t, []string{"SAVEPOINT nogap"}, s.Log())

	_, err = conn.ExecContext(t.Context(), "BEGIN")
	require.NoError(t, err)
	_, err = pessimistic.LockRow[item](t.Context(), conn, itemOne, asPostgres)
	require.NoError(t, err)
	require.Equal(t, []string{"BEGIN", "SAVEPOINT nogap", "RELEASE SAVEPOINT nogap", lockItem}, s.Log()[1:])
}

// What LockRow has locked in a callback is held around the calls that the callback makes, until its end.
func TestLockRowHolds(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	two, three := pessimistic.Row{Table: "items", Key: 2}, pessimistic.Row{Table: "items", Key: 3}
	four := pessimistic.Row{Table: "items", Key: 4}
	share := pessimistic.ForShare()
	jobs := pessimistic.Queue{Table: "items", Limit: 1}
	var kept context.Context
	err := pessimistic.Claim(t.Context(), db, jobs, func(ctx context.Context, tx *sqlx.Tx, _ []*item) error {
		kept = ctx
		require.NoError(t, pessimistic.WithRowLock(ctx, db, two, nothing, asPostgres), "nobody has it")
		require.ErrorContains(t, pessimistic.WithRowLock(ctx, db, itemOne, nothing, asPostgres), "wait for itself", "it is claimed")
		_, err := pessimistic.LockRow[item](ctx, tx, two)
		require.NoError(t, err)
		_, err = pessimistic.LockRow[item](ctx, tx.Tx, three, share)
		require.NoError(t, err)

		require.ErrorContains(t, pessimistic.WithRowLock(ctx, db, two, nothing, asPostgres), "items at [2]: it is locked")
		require.ErrorContains(t, pessimistic.WithRowLock(ctx, db, two, nothing, asPostgres, share), "wait for itself")
		require.ErrorContains(t, pessimistic.WithRowLock(ctx, db, three, nothing, asPostgres), "wait for itself")
		require.NoError(t, pessimistic.WithRowLock(ctx, db, three, nothing, asPostgres, share), "it is shared")
		require.NoError(t, pessimistic.Claim(ctx, db, jobs, func(context.Context, *sqlx.Tx, []*item) error { return nil }, asPostgres),
			"Claim waits for nobody")
		return pessimistic.WithRowLock(ctx, db, four, func(ctx context.Context, inner *sqlx.Tx, _ *item) error {
			_, err := pessimistic.LockRow[item](ctx, inner, two)
			require.ErrorContains(t, err, "wait for itself", "the outer transaction has it")
			_, err = pessimistic.LockRow[item](ctx, inner, four)
			require.NoError(t, err)
			_, err = pessimistic.LockRow[item](ctx, tx, two)
			return err
		}, asPostgres)
	}, asPostgres)
	require.NoError(t, err)
	require.NoError(t, pessimistic.WithRowLock(kept, db, two, nothing, asPostgres))
}

// Where there is one write lock, a callback holds everything, also that of Claim.
func TestClaimHoldsADatabase(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	as := pessimistic.WithDialect(nogap.SQLite)
	jobs := pessimistic.Queue{Table: "items", Limit: 1}
	err := pessimistic.Claim(t.Context(), db, jobs, func(ctx context.Context, tx *sqlx.Tx, _ []*item) error {
		claim := func(context.Context, *sqlx.Tx, []*item) error { return nil }
		require.ErrorContains(t, pessimistic.WithRowLock(ctx, db, itemOne, nothing, as), "items at [1]: it is locked")
		require.ErrorContains(t, pessimistic.Claim(ctx, db, jobs, claim, as), "items: it is locked")
		require.ErrorContains(t, pessimistic.WithNamedLock(ctx, db, "a", func(context.Context, *sqlx.Tx) error { return nil }, as),
			`the name "a": it is locked`)
		_, err := pessimistic.LockRow[item](ctx, tx, itemOne)
		return err
	}, as)
	require.NoError(t, err)
}

func TestKeyThatIsNotUnique(t *testing.T) {
	s := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if c.Kind == fakedb.Query {
			return items(2), nil
		}
		return fakedb.Reply{}, nil
	})
	db := s.DB()
	defer db.Close()
	err := pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, asPostgres)
	require.ErrorIs(t, err, nogap.ErrNotUnique)
	require.EqualError(t, err, "pessimistic: items at [1]: nogap: the key is not unique: 2 rows have it")
	require.Equal(t, []string{"BEGIN", lockItem, "ROLLBACK"}, s.Log())
}
