package pessimistic_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/pessimistic"
)

// looking is a server whose looks at tables are answered by a Look's fields Unlockable and Lasts, or an error. It counts them,
// and how many came in a transaction.
type looking struct {
	*fakedb.Server
	unlockable, lasts int64
	session           string
	err               error
	tables, inside    int
}

func newLooking() *looking {
	l := &looking{Server: server(nil), lasts: 1, session: "NO_CHAIN"}
	l.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.Contains(c.Query, "@@autocommit") {
			return fakedb.Row(int64(1), l.session), nil
		}
		l.tables++
		log := l.Log()
		if slices.Index(log, "BEGIN") >= 0 && !slices.Contains([]string{"COMMIT", "ROLLBACK"}, log[len(log)-1]) {
			l.inside++
		}
		if l.err != nil {
			return fakedb.Reply{}, l.err
		}
		return fakedb.Row(int64(0), l.unlockable, "", "", int64(0), l.lasts, "", int64(0), int64(0), "", int64(0)), nil
	}
	return l
}

// A table that can't be locked is an error before the first transaction, in which others would wait for its rows.
func TestLooksBeforeTheTransaction(t *testing.T) {
	for _, d := range []nogap.Dialect{nogap.Postgres, nogap.MySQL, nogap.MariaDB} {
		l := newLooking()
		db := l.DB()
		defer db.Close()
		calls := 0
		lock := func(opts ...pessimistic.Option) error {
			return pessimistic.WithRowLock(t.Context(), db, itemOne, func(context.Context, *sqlx.Tx, *item) error {
				calls++
				return nil
			}, append(opts, pessimistic.WithDialect(d))...)
		}
		l.unlockable = 1
		require.ErrorContains(t, lock(), "pessimistic: items: a SELECT of this view locks no rows")
		require.NotContains(t, l.Log(), "BEGIN", d)
		l.unlockable, l.tables, l.inside = 0, 0, 0
		for range 3 {
			require.NoError(t, lock())
		}
		require.Equal(t, []int{1, 0, 3}, []int{l.tables, l.inside, calls}, d)
	}
}

// What another session may be told otherwise is asked once before the transaction, and then in every transaction: a view that
// only some see is none to others.
func TestLooksInTheTransaction(t *testing.T) {
	l := newLooking()
	db := l.DB()
	defer db.Close()
	l.lasts, l.unlockable = 0, 1
	lock := func() error {
		return pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, pessimistic.WithDialect(nogap.Postgres))
	}
	require.ErrorContains(t, lock(), "locks no rows")
	require.Equal(t, []int{2, 1}, []int{l.tables, l.inside})
	require.Equal(t, "ROLLBACK", l.Log()[len(l.Log())-1])
	l.unlockable = 0
	require.NoError(t, lock())
	require.Equal(t, []int{3, 2}, []int{l.tables, l.inside})
	l.lasts = 1
	require.NoError(t, lock())
	require.NoError(t, lock())
	require.Equal(t, []int{4, 3}, []int{l.tables, l.inside}, "now it is known")
}

// A look that lost against others is made again, and says nothing about the table.
func TestLookThatLost(t *testing.T) {
	for _, lasts := range []int64{0, 1} {
		l := newLooking()
		db := l.DB()
		defer db.Close()
		l.lasts = lasts
		answer, failed := l.Looks, 0
		l.Looks = func(ctx context.Context, c fakedb.Call) (fakedb.Reply, error) {
			reply, err := answer(ctx, c)
			if failed == 0 && l.inside == int(1-lasts) {
				failed++
				return fakedb.Reply{}, stateError("40P01")
			}
			return reply, err
		}
		calls := 0
		require.NoError(t, pessimistic.WithRowLock(t.Context(), db, itemOne, func(context.Context, *sqlx.Tx, *item) error {
			calls++
			return nil
		}, pessimistic.WithDialect(nogap.Postgres)))
		require.Equal(t, []int{1, 1}, []int{failed, calls})

		l.err = errBoom
		l.lasts = 1
		other := pessimistic.Row{Table: "others", Key: 1}
		err := pessimistic.WithRowLock(t.Context(), db, other, nothing, pessimistic.WithDialect(nogap.Postgres))
		require.ErrorIs(t, err, errBoom)
		require.ErrorContains(t, err, "pessimistic: looking at table others")
	}
}

// All calls look at the session before they begin.
func TestLooksAtTheSession(t *testing.T) {
	l := newLooking()
	l.session = "RELEASE"
	db := l.DB()
	defer db.Close()
	as := pessimistic.WithDialect(nogap.MySQL)
	for _, err := range []error{
		pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, as),
		pessimistic.WithNamedLock(t.Context(), db, "a", func(context.Context, *sqlx.Tx) error { return nil }, as),
		pessimistic.Claim(t.Context(), db, pessimistic.Queue{Table: "items", Limit: 1},
			func(context.Context, *sqlx.Tx, []*item) error { return nil }, as),
	} {
		require.ErrorContains(t, err, "pessimistic: the session has completion_type=RELEASE")
	}
	require.NotContains(t, l.Log(), "BEGIN")
}

// An error of COMMIT is the package's, one of a callback is the callback's own.
func TestErrorOfCommit(t *testing.T) {
	s := server(func(c fakedb.Call) error {
		if c.Kind == fakedb.Commit {
			return stateError("23514")
		}
		return nil
	})
	db := s.DB()
	defer db.Close()
	as := pessimistic.WithDialect(nogap.Postgres)
	err := pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, as)
	require.ErrorIs(t, err, stateError("23514"))
	require.True(t, strings.HasPrefix(err.Error(), "pessimistic: "), err)
	boom := func(context.Context, *sqlx.Tx) error { return errBoom }
	require.Equal(t, errBoom, pessimistic.WithNamedLock(t.Context(), db, "a", boom, as))
	require.Equal(t, errBoom, pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, as, pessimistic.Before(boom)))
}

// What Before calls on the pool must not wait for the locks of its own call, which others of the process queue for already.
func TestBeforeIsInTheTransaction(t *testing.T) {
	s := server(nil)
	db := s.DB()
	defer db.Close()
	as := pessimistic.WithDialect(nogap.Postgres)
	var onPool, inTx error
	err := pessimistic.WithRowLock(t.Context(), db, itemOne, nothing, as, pessimistic.Before(func(ctx context.Context, tx *sqlx.Tx) error {
		onPool = pessimistic.WithRowLock(ctx, db, itemOne, nothing, as)
		_, inTx = pessimistic.LockRow[item](ctx, tx, itemOne)
		return inTx
	}))
	require.NoError(t, err)
	require.ErrorContains(t, onPool, "would wait for itself")
	require.NoError(t, inTx)
}
