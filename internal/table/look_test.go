package table_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// looked is a MySQL that answers looks, and counts them.
type looked struct {
	*fakedb.Server
	session, table   fakedb.Reply
	sessions, tables int
}

func newLooked() *looked {
	l := &looked{session: fakedb.Row(int64(1), "NO_CHAIN"), table: told(0, 0, "", 1)}
	l.Server = fakedb.Recorded(look)
	l.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.Contains(c.Query, "@@autocommit") {
			l.sessions++
			return l.session, nil
		}
		if strings.HasPrefix(c.Query, "SELECT CASE WHEN @@sql_mode") {
			return fakedb.Looked(c, ""), nil
		}
		l.tables++
		if strings.HasPrefix(c.Query, "SHOW CREATE TABLE") { // early in a transaction
			return fakedb.Looked(c, "bigint"), nil
		}
		return l.table, nil
	}
	return l
}

// told is the answer to a look at a table.
func told(diverted, unlockable int64, engine string, lasts int64) fakedb.Reply {
	return fakedb.Row(diverted, unlockable, engine, "bigint", int64(0), lasts, "", int64(0), int64(0), "", int64(0))
}

func of(t *testing.T, q *table.SQL[dialect.Look], bound *table.Table) (*dialect.Look, error) {
	return q.Of(t.Context(), bound, func(_ context.Context, _ txn.Runner, _ dialect.Server, l dialect.Look) (*dialect.Look, error) {
		return &l, nil
	})
}

func TestLooksOnce(t *testing.T) {
	l := newLooked()
	db := l.DB()
	defer db.Close()
	bound := bind(t, db)
	var q table.SQL[dialect.Look]
	for range 2 {
		look, err := of(t, &q, bound)
		require.NoError(t, err)
		require.Equal(t, &dialect.Look{Listed: true, Type: "bigint", Lasts: true}, look)
	}
	require.Equal(t, []int{1, 1}, []int{l.sessions, l.tables})
	// Another table is another look, and the session is known.
	_, err := of(t, new(table.SQL[dialect.Look]), bind(t, db))
	require.NoError(t, err)
	require.Equal(t, []int{1, 2}, []int{l.sessions, l.tables})
}

// Many calls that come first at the same time, on one connection, look once.
func TestLocksAreLookedForOnce(t *testing.T) {
	l := newLooked()
	db := l.DB()
	defer db.Close()
	db.SetMaxOpenConns(1)
	bound := bind(t, db)
	server, err := bound.Server(t.Context(), txn.Pool{DB: db})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if err := bound.CheckLockableBefore(t.Context(), db, server); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 1, l.tables)
}

// What another session may be told otherwise is asked each time.
func TestLookThatDoesNotLast(t *testing.T) {
	for name, reply := range map[string]fakedb.Reply{"other": told(0, 0, "", 0), "not listed": {Columns: []string{"none"}}} {
		l := newLooked()
		l.table = reply
		db := l.DB()
		defer db.Close()
		var q table.SQL[dialect.Look]
		for n := range 3 {
			look, err := of(t, &q, bind(t, db))
			require.NoError(t, err, name)
			require.Equal(t, name != "not listed", look.Listed)
			require.Equal(t, n+1, l.tables, name)
			require.Nil(t, q.Built(), name)
		}
		require.Equal(t, 1, l.sessions)
	}
}

func TestObstacles(t *testing.T) {
	l := newLooked()
	db := l.DB()
	defer db.Close()
	var q table.SQL[dialect.Look]
	for _, tt := range []struct {
		session, table fakedb.Reply
		want           string
	}{
		{fakedb.Row(int64(0), "NO_CHAIN"), told(0, 0, "", 1), "the session has autocommit=0"},
		{fakedb.Row(int64(1), "CHAIN"), told(0, 0, "", 1), "the session has completion_type=CHAIN"},
		{fakedb.Row(int64(1), "RELEASE"), told(0, 0, "", 1), "the session has completion_type=RELEASE"},
		{fakedb.Row(int64(1), "NO_CHAIN"), told(0, 0, "MyISAM", 1), "items: its engine MyISAM has no transactions"},
	} {
		l.session, l.table = tt.session, tt.table
		_, err := of(t, &q, bind(t, db))
		require.ErrorContains(t, err, tt.want)
		require.ErrorAs(t, err, new(*table.Obstacle))
		require.Nil(t, q.Built(), "only success is kept")
	}
	l.table = told(0, 0, "", 1)
	_, err := of(t, &q, bind(t, db))
	require.NoError(t, err)

	bound := bind(t, db)
	look := dialect.Look{Diverted: dialect.Update | dialect.Delete}
	require.NoError(t, bound.CheckWritten(look, dialect.Insert))
	require.ErrorContains(t, bound.CheckWritten(look, dialect.Insert|dialect.Update), "in place of UPDATE without")
}

// What is built for a session that is not strict writes in a strict mode; a server that can't is refused.
func TestSessionThatIsNotStrict(t *testing.T) {
	for version, refused := range map[string]bool{"8.0.36": false, "10.11.6-MariaDB": false, "5.7.44": true, "8.0.11-TiDB-v7.5.0": true} {
		server := fakedb.New(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row(version), nil })
		server.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			reply := fakedb.Looked(c, "bigint")
			if strings.Contains(c.Query, "information_schema.TABLES") {
				reply.Rows[0][len(reply.Rows[0])-2] = "ANSI,STRICT_ALL_TABLES"
			}
			return reply, nil
		}
		db := server.DB()
		var update string
		_, err := new(table.SQL[string]).Of(t.Context(), bind(t, db),
			func(_ context.Context, _ txn.Runner, s dialect.Server, _ dialect.Look) (*string, error) {
				update = s.Compile("UPDATE items SET stock = 1").Text
				return &update, nil
			})
		if refused {
			require.ErrorAs(t, err, new(*table.Obstacle), version)
			require.ErrorContains(t, err, "the sql_mode of the session is not strict", version)
			require.Empty(t, update)
		} else {
			require.NoError(t, err, version)
			require.Contains(t, update, "'ANSI,STRICT_ALL_TABLES'", version)
		}
		require.NoError(t, db.Close())
	}
}

// In a transaction of the caller's the session is the caller's affair; the pool's first call looks at it.
func TestLookInATransaction(t *testing.T) {
	l := newLooked()
	l.session = fakedb.Row(int64(0), "NO_CHAIN")
	db := l.DB()
	defer db.Close()
	tx, err := db.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	bound := bind(t, db)
	var q table.SQL[dialect.Look]
	for range 2 {
		_, err = of(t, &q, bound.In(tx))
		require.NoError(t, err)
		require.Equal(t, []int{0, 1}, []int{l.sessions, l.tables})
	}
	_, err = of(t, &q, bound)
	require.ErrorContains(t, err, "autocommit=0")
	_, err = of(t, &q, bound.In(tx))
	require.NoError(t, err)
	l.session = fakedb.Row(int64(1), "NO_CHAIN")
	for range 2 {
		_, err = of(t, &q, bound)
		require.NoError(t, err)
		require.Equal(t, []int{2, 2}, []int{l.sessions, l.tables}, "triggers are looked for now")
	}
}

func TestCheckLockable(t *testing.T) {
	l := newLooked()
	db := l.DB()
	defer db.Close()
	server, err := dialect.Assume(nogap.MySQL)
	require.NoError(t, err)
	bound := bind(t, db)
	check := func(b *table.Table) error { return b.CheckLockable(t.Context(), txn.Pool{DB: db}, server) }
	l.table = told(0, 1, "", 1)
	require.ErrorContains(t, check(bound), "items: a SELECT of this view locks no rows")
	l.table = told(0, 0, "", 0)
	require.NoError(t, check(bound))
	require.False(t, bound.Lockable())
	l.table = told(int64(dialect.Update), 0, "", 1) // a lock is none the worse for a trigger
	require.NoError(t, check(bound))
	require.True(t, bound.Lockable())
	require.NoError(t, check(bound))
	require.Equal(t, 3, l.tables)

	other := newLooked().DB()
	defer other.Close()
	tx, err := other.Begin()
	require.NoError(t, err)
	defer tx.Rollback()
	require.False(t, bound.In(tx).Lockable(), "another database's")
}

// The tables behind a view are looked at, and the views behind it.
func TestLookBehindAView(t *testing.T) {
	views := map[string]string{
		"shown":   "select `s`.`id` AS `id` from (`d`.`inner` `s` join `d`.`t``1` on((`s`.`id` = `d`.`t``1`.`id`)))",
		"`inner`": "",
		"inner":   "select `d`.`inner`.`id` AS `id` from `d`.`items` where `d`.`items`.`id` in (select `x`.`id` from `d`.`inner` `x`)",
	}
	var asked []string
	server := fakedb.New(look)
	server.Looks = func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
		if strings.Contains(c.Query, "@@autocommit") {
			return fakedb.Looked(c, ""), nil
		}
		for name, view := range views {
			if strings.Contains(c.Query, "t.TABLE_NAME = '"+name+"'") {
				asked = append(asked, name)
				return fakedb.Row(int64(0), int64(0), "", "", int64(0), int64(1), view, int64(0), int64(0), "", int64(0)), nil
			}
		}
		if strings.Contains(c.Query, "t.TABLE_NAME = 'items'") {
			return told(0, 0, "Aria", 1), nil
		}
		asked = append(asked, c.Args[len(c.Args)-1].Value.(string))
		return told(0, 0, "", 1), nil
	}
	db := server.DB()
	defer db.Close()
	bound, err := table.Bind(db, "shown", table.Options{})
	require.NoError(t, err)
	var q table.SQL[dialect.Look]
	_, err = of(t, &q, bound)
	require.ErrorContains(t, err, "shown: the view's table d.items has the engine Aria")
	require.Equal(t, []string{"shown", "inner", "t`1"}, asked)
}
