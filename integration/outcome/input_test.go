//go:build unix

package outcome_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/idempotency"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/optimistic"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

// pieces are what breaks out of a text, a name or a comment, if anything does.
var pieces = []string{
	"'", "''", `"`, `""`, "`", "``", `\`, `\'`, "--", "-- ", "/*", "*/", "#", ";", "; DROP TABLE victim; --", "' OR '1'='1", "$1", "$$", "?",
	":name", "%s", "%", "_", "(", ")", "[", "]", "{", "}", ",", ".", " ", "\t", "\n", "\r", "\x00", "\x1a", "\xff", "\xbf'", "é", "е", "İ", "ﬀ",
	"\u202e", "\u200b", "\ufeff", "ʼ", "’", "＇", "NULL", "null", "0x27", "1e1", "E'", "U&'", "N'", "SELECT", "a", "A", "1", "-1",
}

// corpus are texts from callers who mean no good, and some that only a seed knows.
func corpus(rng *rand.Rand, n int) []string {
	texts := slices.Concat(pieces, []string{
		"plain'; UPDATE victim SET stock = 0; --", `plain"; DROP TABLE victim; --`, "plain`; DROP TABLE victim; -- ",
		"x' UNION SELECT 1 --", "1; DELETE FROM victim", "1 OR 1=1", "') OR ('1'='1", "\\'; DROP TABLE victim; #", "/*! DROP TABLE victim */",
		strings.Repeat("'", 100), strings.Repeat("long", 60), strings.Repeat("too long", 4000),
	})
	for range n {
		var text strings.Builder
		for range 1 + rng.IntN(5) {
			text.WriteString(pieces[rng.IntN(len(pieces))])
		}
		texts = append(texts, text.String())
	}
	return texts
}

// A user of the library hands a text on as a key, a value or a name.
type user struct {
	name string
	use  func(ctx context.Context, text string) error
}

// things is a table of things that have texts as their keys.
const things = "CREATE TABLE things (id %s PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT NOT NULL, status %[1]s NOT NULL, used_at %s NULL)"

type thing struct {
	ID      string `db:"id"`
	Stock   int64  `db:"stock"`
	Version int64  `db:"version"`
}

func newKeyUsers(t *testing.T, dialect nogap.Dialect, db *sql.DB) []user {
	t.Helper()
	id, version := atomic.WithKey("id"), atomic.VersionColumn("version")
	stock, err1 := atomic.NewCounter[int64](db, "things", "stock", id, version)
	status, err2 := atomic.NewState[string](db, "things", "status", id)
	codes, err3 := atomic.NewSingleUse[struct {
		ID string `db:"id"`
	}](db, "things", id, atomic.UsedAt("used_at"))
	set, err4 := atomic.NewSet(db, "texts", []string{"id"})
	table, err5 := optimistic.NewTable[thing](db, "things")
	keys, err6 := idempotency.New[string](db, "idempotency_keys")
	require.NoError(t, errors.Join(err1, err2, err3, err4, err5, err6))
	hot := atomic.Coalesce(stock)
	oneRow := "id = ?"
	if dialect == nogap.Postgres {
		oneRow = "id = $1"
	}
	nothing := func(context.Context, *sqlx.Tx, []*thing) error { return nil }
	one := func(text string) []atomic.Item[int64] { return []atomic.Item[int64]{{Key: atomic.Key{text}, N: 1}} }
	return []user{
		{"Counter", func(ctx context.Context, text string) error {
			_, err1 := stock.Decrement(ctx, 1, text)
			_, err2 := stock.IncrementUpTo(ctx, 1, 2*full, text)
			return errors.Join(err1, err2, stock.CompareAndSet(ctx, full, full, text), stock.DecrementAll(ctx, one(text)),
				stock.IncrementAll(ctx, one(text)))
		}},
		{"Coalesce", func(ctx context.Context, text string) error {
			errs := make([]error, 3)
			var all sync.WaitGroup
			for i := range errs {
				all.Go(func() { _, errs[i] = hot.Increment(ctx, 0, text) })
			}
			all.Wait()
			return errors.Join(errs...)
		}},
		{"State", func(ctx context.Context, text string) error {
			return errors.Join(status.Transition(ctx, "new", text, text), status.Transition(ctx, text, "new", text))
		}},
		{"SingleUse", func(ctx context.Context, text string) error {
			_, err := codes.Use(ctx, text)
			return err
		}},
		{"Set", func(ctx context.Context, text string) error {
			_, err1 := set.Add(ctx, text)
			_, err2 := set.Remove(ctx, text)
			return errors.Join(err1, err2)
		}},
		{"Table", func(ctx context.Context, text string) error {
			_, err := table.Modify(ctx, func(it *thing) error { it.Stock = full; return nil }, text)
			return err
		}},
		{"WithRowLocks", func(ctx context.Context, text string) error {
			return errors.Join(
				pessimistic.WithRowLocks(ctx, db, pessimistic.Rows{Table: "things", Keys: []any{text}}, nothing),
				pessimistic.WithRowLocks(ctx, db, pessimistic.Rows{Table: "things", Where: oneRow, Args: []any{text}}, nothing),
				pessimistic.Claim(ctx, db, pessimistic.Queue{Table: "things", Where: oneRow, Args: []any{text}, Limit: 1}, nothing))
		}},
		{"WithNamedLock", func(ctx context.Context, text string) error {
			return pessimistic.WithNamedLock(ctx, db, text, func(context.Context, *sqlx.Tx) error { return nil })
		}},
		{"transaction.Run", func(ctx context.Context, text string) error {
			return transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
				_, err := stock.WithTx(tx).Increment(ctx, 0, text)
				return err
			})
		}},
		{"Do", func(ctx context.Context, text string) error {
			_, _, err1 := keys.Do(ctx, text, func(context.Context, *sqlx.Tx) (string, error) { return text, nil }, idempotency.Fingerprint(text))
			_, _, err2 := keys.Lookup(ctx, text)
			return errors.Join(err1, err2, keys.Forget(ctx, text))
		}},
	}
}

// recorder notes the statements that reach the server.
type recorder struct {
	mu    sync.Mutex
	texts map[string]bool
}

func (r *recorder) note(request faultproxy.Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range request.Executes {
		r.texts[text] = true
	}
	return false
}

// during returns the statements that f sends.
func (r *recorder) during(f func()) map[string]bool {
	r.mu.Lock()
	r.texts = map[string]bool{}
	r.mu.Unlock()
	f()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.texts
}

// Whatever a key or a value says, the statements that reach the server are those of a harmless one, and the other rows and tables
// are what they were.
func TestKeysAreValues(t *testing.T) {
	each(t, matrix.All(), func(t *testing.T, target matrix.Target) {
		dsn, seen := target.DSN(t), &recorder{}
		through := dsn
		if target.Dialect != nogap.SQLite {
			var proxy *faultproxy.Proxy
			proxy, through = target.Proxy(t, dsn)
			seen.during(func() {})
			proxy.LoseRequest(seen.note)
		}
		db := target.Connect(t, through)
		text, instant := "VARCHAR(300)", "TIMESTAMP"
		if target.Dialect == nogap.MySQL || target.Dialect == nogap.MariaDB {
			text, instant = "VARCHAR(300) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "DATETIME(6)"
		}
		keys, err := newKeys(db)
		require.NoError(t, err)
		for _, statement := range []string{
			fmt.Sprintf(things, text, instant), "CREATE TABLE texts (id " + text + " PRIMARY KEY)", keys.Schema(target.Dialect),
			"CREATE TABLE victim (id INT PRIMARY KEY, stock INT NOT NULL)", "INSERT INTO victim VALUES (1, 1000)",
		} {
			execute(t, db, statement)
		}
		ctx := concurrent.Within(t, 5*patience)
		insert := sqlx.Rebind(sqlx.BindType(target.Driver), "INSERT INTO things VALUES (?, 1000, 0, 'new', NULL)")
		if target.Dialect == nogap.Postgres {
			insert = sqlx.Rebind(sqlx.DOLLAR, "INSERT INTO things VALUES (?, 1000, 0, 'new', NULL)")
		}
		add := func(text string) error {
			_, err1 := db.ExecContext(ctx, "DELETE FROM things WHERE id <> 'victim'")
			_, err2 := db.ExecContext(ctx, insert, text)
			return errors.Join(err1, err2)
		}
		_, err = db.ExecContext(ctx, insert, "victim")
		require.NoError(t, err)
		rng := rand.New(rand.NewPCG(*seed, 0))
		harmless := map[string]map[string]bool{}
		users := newKeyUsers(t, target.Dialect, db)
		used, taken := 0, 0
		known := []string{"harmless", "harmless, too", "missing", "missing, too"}
		for i, text := range append(known, corpus(rng, inLong(20, 5000))...) {
			missing := i == 2 || i == 3
			there := !missing && add(text) == nil
			for _, u := range users {
				var err error
				sent := seen.during(func() { err = u.use(ctx, text) })
				// A Coalescer sends one thing for calls that meet and another for those that don't: both must be known.
				for u.name == "Coalesce" && i < len(known) && target.Dialect != nogap.SQLite && reads(sent) < 2 {
					require.NoError(t, ctx.Err(), "all calls have met, or none: %v", sent)
					more := seen.during(func() { err = errors.Join(err, u.use(ctx, text)) })
					maps.Copy(sent, more)
				}
				used++
				taken += count(err == nil)
				if i < len(known) {
					require.True(t, err == nil || missing, "%s: %v", u.name, err)
					if harmless[u.name] == nil {
						harmless[u.name] = map[string]bool{}
					}
					for statement := range sent {
						harmless[u.name][withoutText(statement, text)] = true
					}
					continue
				}
				for statement := range sent {
					require.True(t, harmless[u.name][withoutText(statement, text)] || ends(statement),
						"%s with %q sent %q, seed %d", u.name, text, statement, *seed)
				}
			}
			var stock, rows int
			require.NoError(t, db.QueryRowContext(ctx, "SELECT stock FROM victim").Scan(&stock))
			require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM things WHERE id = 'victim' AND stock = 1000 AND version = 0 "+
				"AND status = 'new' AND used_at IS NULL").Scan(&rows))
			require.Equal(t, [2]int{full, 1}, [2]int{stock, rows}, "%q", text)
			if there {
				require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM things").Scan(&rows))
				require.Equal(t, 2, rows, "%q", text)
			}
		}
		t.Logf("%d uses of texts, of which %d were no error", used, taken)
	})
}

// withoutText returns a statement without a text that may stand in it, because it has letters and signs that mean nothing in SQL
// alone: see atomic.Coalescer.
func withoutText(statement, text string) string {
	if text == "" || strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@") != "" {
		return statement
	}
	return strings.ReplaceAll(statement, "'"+text+"'", "'text'")
}

// reads counts the statements that read a row.
func reads(statements map[string]bool) (n int) {
	for statement := range statements {
		n += count(strings.HasPrefix(statement, "SELECT") && !ends(statement))
	}
	return n
}

// ends tells the statements to which an error leads, and those by which a connection and a table are looked at.
func ends(statement string) bool {
	for _, begin := range []string{"ROLLBACK", "SAVEPOINT", "RELEASE", "SELECT 1", "-- PING"} {
		if strings.HasPrefix(strings.ToUpper(statement), begin) || strings.Contains(statement, "nogap looks once") {
			return true
		}
	}
	return false
}

// named returns a text as a name in SQL. It is written apart from nogap's own.
func named(dialect nogap.Dialect, name string) string {
	if dialect == nogap.MySQL || dialect == nogap.MariaDB {
		return "`" + strings.ReplaceAll(name, "`", "``") + "`"
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// Whatever the names of a table and its columns are, it is they that are meant, or the constructor says no.
func TestNamesAreNames(t *testing.T) {
	each(t, matrix.All(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		execute(t, db, "CREATE TABLE victim (id INT PRIMARY KEY, stock INT NOT NULL)")
		execute(t, db, "INSERT INTO victim VALUES (1, 1000)")
		ctx := concurrent.Within(t, 5*patience)
		rng := rand.New(rand.NewPCG(*seed, 1))
		works, refusals := 0, 0
		for _, name := range corpus(rng, inLong(10, 1000)) {
			table, column := name+"t", name+"c"
			quoted, c := named(target.Dialect, table), named(target.Dialect, column)
			_, created := db.ExecContext(ctx, fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY, %s BIGINT NOT NULL)", quoted, c))
			if created == nil {
				execute(t, db, "INSERT INTO "+quoted+" VALUES (1, 1000)")
			}
			err := useNames(ctx, db, table, column)
			switch {
			case err == nil && created == nil:
				var stock int
				require.NoError(t, db.QueryRowContext(ctx, "SELECT "+c+" FROM "+quoted).Scan(&stock))
				require.Equal(t, full-1, stock, "%q", name)
				works++
			case err == nil:
				require.Failf(t, "there is no such table", "%q: %v", name, created)
			default:
				refusals++
			}
			if created == nil {
				execute(t, db, "DROP TABLE "+quoted)
			}
			var stock int
			require.NoError(t, db.QueryRowContext(ctx, "SELECT stock FROM victim").Scan(&stock))
			require.Equal(t, full, stock, "%q", name)
		}
		require.Positive(t, works)
		t.Logf("%d names work, %d are refused", works, refusals)
	})
}

// useNames hands the names to every constructor, and uses those that take them.
func useNames(ctx context.Context, db *sql.DB, table, column string) error {
	for _, construct := range []func() error{
		func() error { _, err := atomic.NewSet(db, table, []string{column}); return err },
		func() error { _, err := atomic.NewState[int](db, table, column); return err },
		func() error { _, err := atomic.NewSingleUse[coupon](db, table, atomic.UsedAt(column)); return err },
		func() error {
			_, err := optimistic.NewTable[item](db, table, optimistic.VersionColumn(column))
			if err != nil && strings.Contains(err.Error(), "field") { // there is none for the column
				return nil
			}
			return err
		},
		func() error { _, err := idempotency.New[int](db, table); return err },
		func() error { _, err := distlock.NewFence(db, table); return err },
	} {
		if err := construct(); err != nil {
			return err
		}
	}
	stock, err := atomic.NewCounter[int64](db, table, column)
	if err != nil {
		return err
	}
	if _, err := stock.Decrement(ctx, 1, 1); err != nil {
		return err
	}
	rows := pessimistic.Row{Table: table, Key: 1, Columns: []string{column}}
	return pessimistic.WithRowLock(ctx, db, rows, func(context.Context, *sqlx.Tx, *int64) error { return nil })
}
