package table_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/holding"
	"github.com/nogap-go/nogap/internal/observe"
	"github.com/nogap-go/nogap/internal/option"
	"github.com/nogap-go/nogap/internal/table"
	"github.com/nogap-go/nogap/internal/txn"
)

// MySQLError looks like *mysql.MySQLError.
type MySQLError struct {
	Number  uint16
	Message string
}

func (e *MySQLError) Error() string { return e.Message }

var (
	errDeadlock = &MySQLError{1213, "deadlock"}
	errLockWait = &MySQLError{1205, "lock wait timeout"}
	errOwn      = errors.New("own")
)

// serve runs a test with a pool on a recorded MySQL, whose answers handle may replace.
func serve(t *testing.T, handle func(c fakedb.Call) error, test func(t *testing.T, server *fakedb.Server, db *sql.DB)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := fakedb.Recorded(func(_ context.Context, c fakedb.Call) (fakedb.Reply, error) {
			if handle != nil {
				if err := handle(c); err != nil {
					return fakedb.Reply{}, err
				}
			}
			switch c.Query {
			case "SELECT version()":
				return fakedb.Row("8.0.36"), nil
			case "SELECT 1":
				return fakedb.Row(int64(1)), nil
			}
			return fakedb.Reply{RowsAffected: 1}, nil
		})
		db := server.DB()
		defer db.Close()
		test(t, server, db)
		require.Zero(t, db.Stats().InUse)
		require.Zero(t, server.Dirty())
	})
}

func bind(t *testing.T, db *sql.DB, key ...string) *table.Table {
	t.Helper()
	columns, err := dialect.Columns(key...)
	require.NoError(t, err)
	items, err := table.Bind(db, "items", table.Options{Key: columns})
	require.NoError(t, err)
	return items
}

func TestBind(t *testing.T) {
	server := fakedb.Recorded(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Reply{}, nil })
	db := server.DB()
	defer db.Close()
	_, err := table.Bind(nil, "items", table.Options{})
	require.EqualError(t, err, "db is nil")
	_, err = table.Bind(db, "items; DROP", table.Options{})
	require.ErrorContains(t, err, `holds the character ';'`)
	_, err = table.Bind(db, "items", table.Options{Dialect: 99})
	require.ErrorContains(t, err, "Dialect(99)")
	items, err := table.Bind(db, "shop.items", table.Options{})
	require.NoError(t, err)
	require.Equal(t, "shop.items", items.Name.String())
	require.Equal(t, "id", items.KeyNames())
	require.Same(t, db, items.DB())
	require.False(t, items.InTx())
	require.Empty(t, server.Calls(), "nothing is sent")
}

func TestOptions(t *testing.T) {
	type config struct {
		key     []dialect.Ident
		dialect nogap.Dialect
	}
	withKey := func(columns ...string) option.Option[config] {
		return table.WithKey(columns, func(c *config, key []dialect.Ident) { c.key = key })
	}
	withDialect := func(d nogap.Dialect) option.Option[config] {
		return table.WithDialect(d, func(c *config, d nogap.Dialect) { c.dialect = d })
	}
	var c config
	require.NoError(t, withKey("tenant", "sku").Set(&c))
	require.NoError(t, withDialect(nogap.SQLite).Set(&c))
	require.Len(t, c.key, 2)
	require.Equal(t, nogap.SQLite, c.dialect)
	for _, tt := range []struct {
		option option.Option[config]
		want   string
	}{
		{withKey(), "WithKey names no column"},
		{withKey("tenant", "Tenant"), `WithKey: column name "Tenant" is given twice`},
		{withKey("a b", ""), `WithKey: column name "" is empty`},
		{withDialect(0), "WithDialect: unknown dialect Dialect(0)"},
	} {
		require.ErrorContains(t, tt.option.Set(&c), tt.want)
		require.True(t, strings.HasPrefix(tt.want, tt.option.Name))
	}
}

type nullString struct{ *string }

func (n nullString) Value() (driver.Value, error) {
	if n.string == nil {
		return nil, nil
	}
	return *n.string, nil
}

func TestCheckKey(t *testing.T) {
	db := fakedb.Open(nil)
	defer db.Close()
	one, two := bind(t, db), bind(t, db, "tenant", "sku")
	text := "a"
	for _, tt := range []struct {
		name  string
		table *table.Table
		key   []any
		want  string
	}{
		{"one", one, []any{7}, ""},
		{"two", two, []any{7, "a"}, ""},
		{"a pointer", one, []any{&text}, ""},
		{"a valuer", one, []any{nullString{&text}}, ""},
		{"an empty text", one, []any{""}, ""},
		{"a type that only the driver knows", one, []any{[16]byte{1}}, ""},
		{"none", one, nil, "a key of items has one value for each of (id), got 0"},
		{"too many", one, []any{1, 2}, "a key of items has one value for each of (id), got 2"},
		{"too few", two, []any{1}, "a key of items has one value for each of (tenant, sku), got 1"},
		{"a whole key", one, []any{nogap.Key{1}}, "must be spread with three dots"},
		{"a whole key of two", two, []any{nogap.Key{1, 2}}, "must be spread with three dots"},
		{"a whole key as a slice", two, []any{1, []any{1, 2}}, "must be spread with three dots"},
		{"nil", one, []any{nil}, "items.id is NULL, which equals nothing"},
		{"a nil pointer", two, []any{1, (*string)(nil)}, "items.sku is NULL"},
		{"sql.NullInt64", one, []any{sql.NullInt64{}}, "items.id is NULL"},
		{"a valuer of NULL", one, []any{nullString{}}, "items.id is NULL"},
		{"a nil pointer to a valuer", one, []any{(*nullString)(nil)}, "items.id is NULL"},
		{"nil bytes", one, []any{[]byte(nil)}, "items.id is NULL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.table.CheckKey(tt.key)
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, tt.want)
			}
		})
	}
}

func TestLock(t *testing.T) {
	db := fakedb.Open(nil)
	defer db.Close()
	one, two := bind(t, db), bind(t, db, "tenant", "sku")
	require.Equal(t, one.Lock([]any{7}), one.Lock([]any{int64(7)}))
	require.Equal(t, one.Lock([]any{7}), bind(t, db).Lock([]any{7}), "of two packages")
	require.NotEqual(t, one.Lock([]any{7}), one.Lock([]any{"7"}))
	require.NotEqual(t, one.Lock([]any{7}), bind(t, db, "nr").Lock([]any{7}), "another column")
	require.NotEqual(t, two.Lock([]any{"a", "bc"}), two.Lock([]any{"ab", "c"}))
}

func exec(ctx context.Context, query string) func(txn.Runner) error {
	return func(r txn.Runner) error {
		_, err := r.Exec(ctx, query)
		return err
	}
}

func TestStatementOnThePool(t *testing.T) {
	lost := 2
	serve(t, func(c fakedb.Call) error {
		if c.Query == "UPDATE" && lost > 0 {
			lost--
			return errDeadlock
		}
		return nil
	}, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		require.NoError(t, bind(t, db).Statement(t.Context(), nil, exec(t.Context(), "UPDATE")))
		require.Equal(t, []string{"UPDATE", "UPDATE", "UPDATE"}, server.Log())
	})
}

// attempts runs do as an operation and returns what an observer is told of it.
func attempts(t *testing.T, items *table.Table, do func(context.Context, *observe.Op) error) (result nogap.Result) {
	t.Helper()
	stop := nogap.Observe(items.DB(), ender(func(r nogap.Result) { result = r }))
	defer stop()
	err := items.Operation(t.Context(), "test.Do", do)
	require.Equal(t, err, result.Err)
	return result
}

type ender func(nogap.Result)

func (e ender) Start(ctx context.Context, _ nogap.Operation) (context.Context, func(nogap.Result)) {
	return ctx, e
}

func TestAttemptsAreCounted(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error // of the first two UPDATEs
		tx   bool
		want int
		is   error
		how  nogap.Outcome
	}{
		{"deadlocks", errDeadlock, false, 3, nil, nogap.OutcomeOK},
		{"deadlock in a transaction", errDeadlock, true, 1, errDeadlock, nogap.OutcomeError},
		{"lock wait", errLockWait, false, 1, nogap.ErrLockTimeout, nogap.OutcomeRefused},
		{"lock wait in a transaction", errLockWait, true, 1, nogap.ErrLockTimeout, nogap.OutcomeRefused},
		{"its own", errOwn, false, 1, errOwn, nogap.OutcomeError},
	} {
		for _, way := range []string{"Statement", "Transaction"} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				left := 2
				serve(t, func(c fakedb.Call) error {
					if c.Query == "UPDATE" && left > 0 {
						left--
						return tt.err
					}
					return nil
				}, func(t *testing.T, _ *fakedb.Server, db *sql.DB) {
					items := bind(t, db)
					if tt.tx {
						tx, err := db.Begin()
						require.NoError(t, err)
						defer tx.Rollback()
						items = items.In(tx)
					}
					result := attempts(t, items, func(ctx context.Context, op *observe.Op) error {
						if way == "Statement" {
							return items.Statement(ctx, op, exec(ctx, "UPDATE"))
						}
						return items.Transaction(ctx, op, exec(ctx, "UPDATE"))
					})
					require.ErrorIs(t, result.Err, tt.is)
					require.Equal(t, tt.want, result.Attempts)
					require.Equal(t, tt.how, result.Outcome)
				})
			})
		}
	}
}

func TestTransactionOnThePool(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		items := bind(t, db)
		require.NoError(t, items.Transaction(t.Context(), nil, exec(t.Context(), "UPDATE")))
		require.ErrorIs(t, items.LockAndWriteOnce(t.Context(), func(r txn.Runner) error {
			require.NoError(t, exec(t.Context(), "INSERT")(r))
			return errOwn
		}), errOwn)
		require.Equal(t, []string{"SELECT version()", "SHOW GLOBAL VARIABLES LIKE 'wsrep_on'",
			"BEGIN", "UPDATE", "COMMIT", "BEGIN", "INSERT", "ROLLBACK"}, server.Log())
	})
}

func TestLockAndWriteOnceRunsOnce(t *testing.T) {
	serve(t, func(c fakedb.Call) error {
		if c.Query == "UPDATE" {
			return errDeadlock
		}
		return nil
	}, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		err := bind(t, db).LockAndWriteOnce(t.Context(), exec(t.Context(), "UPDATE"))
		require.ErrorIs(t, err, errDeadlock)
		require.Equal(t, []string{"BEGIN", "UPDATE", "ROLLBACK"}, server.Log())
	})
}

func TestTransactionInTheCallers(t *testing.T) {
	const set, back, release = "SAVEPOINT nogap", "ROLLBACK TO SAVEPOINT nogap", "RELEASE SAVEPOINT nogap"
	errGone := &MySQLError{1305, "SAVEPOINT nogap does not exist"}
	for _, tt := range []struct {
		name string
		fail map[string]error
		want error // in the error
		says string
		log  []string
	}{
		{"success", nil, nil, "", []string{set, "UPDATE", release}},
		{"failure", map[string]error{"UPDATE": errOwn}, errOwn, "", []string{set, "UPDATE", back, release}},
		{"no savepoint", map[string]error{set: errOwn}, errOwn, "", []string{set}},
		{"the release fails", map[string]error{release: errOwn}, errOwn, "could not be restored", []string{set, "UPDATE", release, back, release}},
		{"deadlock, after which MySQL has no savepoint", map[string]error{"UPDATE": errDeadlock, back: errGone}, errDeadlock,
			"could not be restored", []string{set, "UPDATE", back}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serve(t, func(c fakedb.Call) error { return tt.fail[c.Query] }, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
				tx, err := db.Begin()
				require.NoError(t, err)
				defer tx.Rollback()
				err = bind(t, db).In(tx).Transaction(t.Context(), nil, exec(t.Context(), "UPDATE"))
				require.ErrorIs(t, err, tt.want)
				if tt.says != "" {
					require.ErrorContains(t, err, tt.says)
				}
				require.Equal(t, append([]string{"BEGIN", "SELECT version()"}, tt.log...), server.Log())
			})
		})
	}
}

// The savepoint is restored although the context has ended, and what was done does not stay in the transaction.
func TestTransactionInTheCallersIsCancelled(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		err = bind(t, db).In(tx).Transaction(ctx, nil, func(r txn.Runner) error {
			defer cancel()
			return exec(ctx, "UPDATE")(r)
		})
		require.ErrorIs(t, err, context.Canceled)
		log := server.Log()
		require.Equal(t, []string{"ROLLBACK TO SAVEPOINT nogap", "RELEASE SAVEPOINT nogap"}, log[len(log)-2:])
	})
}

// What is no transaction is refused before anything is sent.
func TestInNoTransaction(t *testing.T) {
	serve(t, nil, func(t *testing.T, server *fakedb.Server, db *sql.DB) {
		var q table.SQL[string]
		build := func(context.Context, txn.Runner, dialect.Server, dialect.Look) (*string, error) {
			return new(string), nil
		}
		_, err := q.Of(t.Context(), bind(t, db), build)
		require.NoError(t, err)
		before := len(server.Calls())
		for _, tx := range []nogap.Tx{nil, db, (*sql.Tx)(nil)} {
			items := bind(t, db).In(tx)
			require.True(t, items.InTx())
			never := func(txn.Runner) error { t.Error("it runs"); return nil }
			require.Error(t, items.Statement(t.Context(), nil, never))
			require.Error(t, items.Transaction(t.Context(), nil, never))
			_, err := q.Of(t.Context(), items, build)
			require.Error(t, err, "also if it is built")
			_, err = new(table.SQL[string]).Of(t.Context(), items, build)
			require.Error(t, err)
		}
		require.Len(t, server.Calls(), before)
	})
}

// What callbacks around a call hold is refused at once, in the words of the table.
func TestCheckFree(t *testing.T) {
	serve(t, nil, func(t *testing.T, _ *fakedb.Server, db *sql.DB) {
		outer, err := db.Begin()
		require.NoError(t, err)
		defer outer.Rollback()
		inner, err := db.Begin()
		require.NoError(t, err)
		defer inner.Rollback()
		mysql, err := dialect.Assume(nogap.MySQL)
		require.NoError(t, err)
		items := bind(t, db)
		a, b := []any{"a"}, []any{"b"}
		require.NoError(t, items.CheckFree(t.Context(), a))
		items.In(outer).Wrote(t.Context(), a) // by nobody's callback

		ctx, end := holding.Begin(t.Context(), db, outer, mysql, true, []holding.Lock{items.Lock(a)})
		require.EqualError(t, items.CheckFree(ctx, a), "items at [a]: "+holding.ErrHeld.Error())
		require.NoError(t, items.CheckFree(ctx, b))
		require.NoError(t, items.In(outer).CheckFree(ctx, a))
		items.Wrote(ctx, b) // on the pool: it is committed already
		require.NoError(t, items.CheckFree(ctx, b))
		items.In(outer).Wrote(ctx, b)
		require.ErrorIs(t, items.CheckFree(ctx, b), holding.ErrHeld)

		nested, endNested := holding.Begin(ctx, db, inner, mysql, true, nil)
		require.ErrorIs(t, items.In(inner).CheckFree(nested, a), holding.ErrHeld, "the inner one would wait for the outer one")
		require.NoError(t, items.In(outer).CheckFree(nested, a))
		endNested()
		end()
		require.NoError(t, items.CheckFree(nested, a))
	})
}
