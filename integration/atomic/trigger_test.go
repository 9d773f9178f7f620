//go:build unix

package atomic_test

import (
	"crypto/rand"
	"database/sql"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
)

// meddle makes a trigger run before a row of a table is written, or on SQLite after an UPDATE. The body is that of
// PostgreSQL's function, or one statement of the others.
func meddle(t *testing.T, db *sql.DB, d nogap.Dialect, event, table, body string) {
	t.Helper()
	when := "BEFORE "
	if d == nogap.Postgres {
		exec(t, db, "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "+body+" END'")
		exec(t, db, "CREATE TRIGGER meddle BEFORE "+event+" ON "+table+" FOR EACH ROW EXECUTE FUNCTION meddle()")
		return
	}
	if d == nogap.SQLite {
		if body = "BEGIN " + body + "; END"; event == "UPDATE" { // BEFORE can't change what is written
			when = "AFTER "
		}
	}
	exec(t, db, "CREATE TRIGGER meddle "+when+event+" ON "+table+" FOR EACH ROW "+body)
}

// putBack makes a trigger put columns back to what they were before each UPDATE.
func putBack(t *testing.T, db *sql.DB, d nogap.Dialect, table, key string, columns ...string) {
	t.Helper()
	if d == nogap.Postgres {
		meddle(t, db, d, "UPDATE", table, "RETURN OLD;")
		return
	}
	left := "NEW."
	if d == nogap.SQLite {
		left = ""
	}
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = left + c + " = OLD." + c
	}
	body := "SET " + strings.Join(sets, ", ")
	if d == nogap.SQLite {
		body = "UPDATE " + table + " " + body + " WHERE " + key + " = NEW." + key
	}
	meddle(t, db, d, "UPDATE", table, body)
}

// TestVetoedMember: a member that a trigger drops is not one that was there.
func TestVetoedMember(t *testing.T) {
	matrix.Run(t, append(matrix.Postgres(), matrix.SQLite()...), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE handled (event BIGINT PRIMARY KEY)")
		veto := "IF NEW.event = 7 THEN RETURN NULL; END IF; RETURN NEW;"
		if target.Dialect == nogap.SQLite {
			veto = "SELECT RAISE(IGNORE) WHERE NEW.event = 7"
		}
		meddle(t, db, target.Dialect, "INSERT", "handled", veto)
		set, err := atomic.NewSet(db, "handled", []string{"event"})
		require.NoError(t, err)
		for _, want := range []bool{true, false} {
			added, err := set.Add(t.Context(), 1)
			require.NoError(t, err)
			require.Equal(t, want, added)
		}
		added, err := set.Add(t.Context(), 7)
		require.ErrorContains(t, err, "handled at [7]: the member was not inserted though it is not there: a trigger")
		require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		require.False(t, added)
		require.Equal(t, 1, value[int](t, db, "SELECT count(*) FROM handled"))
	})
}

// TestHiddenVeto: nor is one that a trigger of a partition drops, that a view hides, or a policy.
func TestHiddenVeto(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE handled (event BIGINT PRIMARY KEY) PARTITION BY RANGE (event)")
		exec(t, db, "CREATE TABLE early PARTITION OF handled FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (event)")
		exec(t, db, "CREATE TABLE earliest PARTITION OF early FOR VALUES FROM (0) TO (10)")
		meddle(t, db, target.Dialect, "INSERT", "earliest", "IF NEW.event = 7 THEN RETURN NULL; END IF; RETURN NEW;")
		exec(t, db, "CREATE TABLE stored (event BIGINT PRIMARY KEY)")
		exec(t, db, "INSERT INTO stored VALUES (7)")
		exec(t, db, "CREATE VIEW shown AS SELECT * FROM stored WHERE event < 7")
		role := "reader_" + strings.ToLower(rand.Text())
		exec(t, db, "CREATE ROLE "+role)
		defer func() { exec(t, db, "DROP OWNED BY "+role); exec(t, db, "DROP ROLE "+role) }()
		exec(t, db, "CREATE TABLE guarded (event BIGINT PRIMARY KEY, tenant TEXT DEFAULT 'ours')")
		exec(t, db, "INSERT INTO guarded VALUES (7, 'theirs')")
		exec(t, db, "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
		exec(t, db, "CREATE POLICY own ON guarded USING (tenant = 'ours')")
		exec(t, db, "GRANT USAGE ON SCHEMA public TO "+role)
		exec(t, db, "GRANT ALL ON handled, shown, guarded TO "+role)
		tx, err := db.Begin()
		require.NoError(t, err)
		defer tx.Rollback()
		_, err = tx.Exec("SET LOCAL ROLE " + role)
		require.NoError(t, err)
		for _, table := range []string{"handled", "shown", "guarded"} {
			set, err := atomic.NewSet(db, table, []string{"event"})
			require.NoError(t, err)
			set = set.WithTx(tx)
			for _, want := range []bool{true, false} {
				added, err := set.Add(t.Context(), 1)
				require.NoError(t, err, table)
				require.Equal(t, want, added, table)
			}
			_, err = set.Add(t.Context(), 7)
			require.ErrorContains(t, err, table+" at [7]: the member was not inserted though it is not there")
		}
	})
}

// TestTriggerPutsBack: of two callers at most one may win, and nobody wins what is not stored.
func TestTriggerPutsBack(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE orders (id BIGINT PRIMARY KEY, status VARCHAR(20) NOT NULL, n BIGINT NOT NULL, price NUMERIC(10,2) NOT NULL)")
		exec(t, db, "INSERT INTO orders VALUES (1, 'pending', 1, 1)")
		putBack(t, db, target.Dialect, "orders", "id", "status", "n", "price")
		status, err := atomic.NewState[string](db, "orders", "status")
		require.NoError(t, err)
		n, err := atomic.NewCounter[int64](db, "orders", "n")
		require.NoError(t, err)
		price, err := atomic.NewCounter[string](db, "orders", "price")
		require.NoError(t, err)
		for range 2 {
			for _, err := range []error{
				status.Transition(t.Context(), "pending", "paid", 1),
				n.CompareAndSet(t.Context(), 1, 2, 1),
				price.CompareAndSet(t.Context(), "1", "2", 1),
			} {
				require.ErrorContains(t, err, "trigger")
				require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
			}
		}
		require.Equal(t, "pending", value[string](t, db, "SELECT status FROM orders"))
	})
}

// clamp makes a trigger that stores no more than 50 as the stock of an item.
func clamp(t *testing.T, db *sql.DB, dialect nogap.Dialect) {
	t.Helper()
	body := "SET NEW.stock = LEAST(NEW.stock, 50)"
	switch dialect {
	case nogap.Postgres:
		body = "NEW.stock = LEAST(NEW.stock, 50); RETURN NEW;"
	case nogap.SQLite:
		body = "UPDATE items SET stock = min(stock, 50) WHERE id = NEW.id"
	}
	meddle(t, db, dialect, "UPDATE", "items", body)
}

// TestTriggerClamps: what is returned is what is stored.
func TestTriggerClamps(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := items(t, target, "BIGINT")
		clamp(t, db, target.Dialect)
		stock := newStock[int64](t, db)
		left, err := stock.Increment(t.Context(), 94, "sku-1")
		require.NoError(t, err)
		require.Equal(t, int64(50), left)
		require.Equal(t, int64(50), stockOf[int64](t, db, "sku-1"))
		left, err = stock.Decrement(t.Context(), 1, "sku-1")
		require.NoError(t, err)
		require.Equal(t, int64(49), left)
	})
}

// TestCutValue: without a strict sql_mode MySQL and MariaDB store what is left of a value.
func TestCutValue(t *testing.T) {
	matrix.Run(t, matrix.NotStrict(), func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE orders (id BIGINT PRIMARY KEY, status VARCHAR(6) NOT NULL, n TINYINT NOT NULL, kind ENUM('', 'a', 'b') NOT NULL, "+
			"at DATETIME(6) NOT NULL, price DECIMAL(4,2) NOT NULL)")
		exec(t, db, "INSERT INTO orders VALUES (1, 'new', 1, 'a', '2026-01-02 03:04:05.678901', 1)")
		status, err := atomic.NewState[string](db, "orders", "status")
		require.NoError(t, err)
		kind, err := atomic.NewState[string](db, "orders", "kind")
		require.NoError(t, err)
		n, err := atomic.NewCounter[int64](db, "orders", "n")
		require.NoError(t, err)
		price, err := atomic.NewCounter[string](db, "orders", "price")
		require.NoError(t, err)
		for _, err := range []error{
			status.Transition(t.Context(), "new", "shipped", 1),
			kind.Transition(t.Context(), "a", "unknown", 1),
			n.CompareAndSet(t.Context(), 1, 300, 1),
		} {
			require.ErrorContains(t, err, "the column would not hold what was written: it does not fit")
			require.NotErrorIs(t, err, nogap.ErrOutcomeUnknown)
		}
		require.Equal(t, "new", value[string](t, db, "SELECT status FROM orders"))
		require.Equal(t, "a", value[string](t, db, "SELECT kind FROM orders"))
		require.Equal(t, 1, value[int](t, db, "SELECT n FROM orders"))

		require.NoError(t, status.Transition(t.Context(), "new", "paid", 1))
		require.NoError(t, kind.Transition(t.Context(), "a", "b", 1))
		require.NoError(t, n.CompareAndSet(t.Context(), 1, 100, 1))
		require.NoError(t, price.CompareAndSet(t.Context(), "1", "2.345", 1), "it is rounded")
		require.Equal(t, "b", value[string](t, db, "SELECT kind FROM orders"))
		require.Equal(t, "2.35", value[string](t, db, "SELECT price FROM orders"))
	})
}
