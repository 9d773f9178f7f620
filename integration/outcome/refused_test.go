//go:build unix

package outcome_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
)

// A constraint that is deferred is checked when the statement has given its rows, also where the statement is a transaction of
// its own: a driver hands out the row, and then the error. No call takes the row for the write.
func TestRefusedAfterTheRow(t *testing.T) {
	raise := "RAISE EXCEPTION 'refused after the row' USING ERRCODE = 'check_violation'"
	end := "PERFORM pg_terminate_backend(pg_backend_pid())" // carried out before the COMMIT that calls the trigger
	for _, looked := range []bool{true, false} {
		name := map[bool]string{true: "looked before", false: "looked after"}[looked]
		t.Run("postgres, "+name, func(t *testing.T) {
			matrix.Parallel(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
				refuseAfterTheRow(t, target, "refused after the row, "+name, looked, refuseOnPostgres(raise), true)
			})
		})
		t.Run("postgres, the session ends, "+name, func(t *testing.T) {
			matrix.Parallel(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
				refuseAfterTheRow(t, target, "ended after the row, "+name, looked, refuseOnPostgres(end), false)
			})
		})
		t.Run("sqlite, "+name, func(t *testing.T) {
			matrix.Parallel(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
				refuseAfterTheRow(t, target, "refused after the row, "+name, looked, refuseOnSQLite(), true)
			})
		})
	}
}

// refuseOnPostgres returns what makes the server do something at each COMMIT while there is a row in table armed.
func refuseOnPostgres(do string) (statements []string) {
	statements = append(statements, fmt.Sprintf(`CREATE FUNCTION refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
		IF EXISTS (SELECT 1 FROM armed) THEN %s; END IF; RETURN NULL; END $$`, do))
	for _, table := range []string{"items", "members", "made", "ledger"} {
		statements = append(statements, fmt.Sprintf(`CREATE CONSTRAINT TRIGGER refuse AFTER INSERT OR UPDATE OR DELETE ON %s
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`, table))
	}
	return statements
}

// refuseOnSQLite returns what makes SQLite find an orphan at each COMMIT while there is a row in table armed.
func refuseOnSQLite() (statements []string) {
	statements = append(statements, "CREATE TABLE parents (id INTEGER PRIMARY KEY)",
		"CREATE TABLE orphans (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)")
	for _, on := range []string{"UPDATE ON items", "INSERT ON members", "DELETE ON members", "INSERT ON made", "UPDATE ON made", "INSERT ON ledger"} {
		statements = append(statements, fmt.Sprintf(`CREATE TRIGGER refuse_%s AFTER %s WHEN EXISTS (SELECT 1 FROM armed)
			BEGIN INSERT INTO orphans VALUES (1); END`, strings.ReplaceAll(on, " ", "_"), on))
	}
	return statements
}

// refuseAfterTheRow makes each call several times while the server refuses all of them at the end. looked: the first calls were
// made, and have looked at the tables, before there were triggers. clear: the error says that nothing was written.
func refuseAfterTheRow(t *testing.T, target matrix.Target, fault string, looked bool, triggers []string, clear bool) {
	all, err := newCalls(target.Dialect, target.Connect(t, target.DSN(t)))
	require.NoError(t, err)
	s := newStorm(t, target, fault, 2*len(all))
	execute(t, s.direct, "CREATE TABLE armed (id INT)")
	prepare := func() {
		for _, statement := range triggers {
			execute(t, s.direct, statement)
		}
	}
	if !looked {
		prepare()
	}
	c := s.connect(t, s.dsn)
	if looked {
		prepare()
	}
	if target.Dialect == nogap.SQLite {
		c.db.SetMaxOpenConns(1) // the setting is that of a connection
		_, err := c.db.ExecContext(t.Context(), "PRAGMA foreign_keys = ON")
		require.NoError(t, err)
	}
	within := patience
	if !clear {
		within = time.Second // Do tries again for as long as it may
	}
	execute(t, s.direct, "INSERT INTO armed VALUES (1)")
	for range 2 * len(all) {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		err, ok := s.call(ctx, c, s.fault)
		cancel()
		require.True(t, ok)
		require.False(t, clear && errors.Is(err, nogap.ErrOutcomeUnknown), "%v", err)
	}
	s.struck(s.fault, 2*len(all))
	execute(t, s.direct, "DELETE FROM armed")
	s.audit(t, c)
}
