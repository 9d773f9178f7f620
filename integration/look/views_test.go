//go:build unix

package look_test

import (
	"context"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// fresh makes a database with the table items and some more, and returns its DSN.
func fresh(t *testing.T, target matrix.Target, queries ...string) (dsn string) {
	t.Helper()
	dsn = target.DSN(t)
	exec(t, target.Connect(t, dsn), append([]string{"CREATE TABLE items " + columns, "INSERT INTO items VALUES " + rows}, queries...)...)
	return dsn
}

// A guard of a statement on a view is not evaluated again by its INSTEAD OF trigger, and what is counted is not what the
// trigger has written.
func TestViewOfSQLite(t *testing.T) {
	matrix.Run(t, matrix.SQLite(), func(t *testing.T, target matrix.Target) {
		dsn := fresh(t, target, "CREATE VIEW shown AS SELECT * FROM items",
			`CREATE TRIGGER shown_update INSTEAD OF UPDATE ON shown BEGIN
				UPDATE items SET stock = NEW.stock, status = NEW.status, version = NEW.version WHERE id = OLD.id; END`,
			"CREATE TRIGGER shown_delete INSTEAD OF DELETE ON shown BEGIN DELETE FROM items WHERE id = OLD.id; END",
			"CREATE TRIGGER shown_insert INSTEAD OF INSERT ON shown BEGIN INSERT INTO items (id) VALUES (NEW.id); END")
		refuses(t, target, dsn, "shown", "shown: ")
		refuses(t, target, dsn, "main.shown", "main.shown: ")
	})
}

func TestViewOfPostgres(t *testing.T) {
	const view = "CREATE VIEW shown AS SELECT * FROM items"
	trigger := func(returned string) []string {
		return []string{view, `CREATE FUNCTION write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF TG_OP = 'UPDATE' THEN
				UPDATE items SET stock = NEW.stock, status = NEW.status, version = NEW.version WHERE id = OLD.id;
			ELSIF TG_OP = 'DELETE' THEN
				DELETE FROM items WHERE id = OLD.id;
			ELSE
				INSERT INTO items (id) VALUES (NEW.id);
			END IF;
			RETURN ` + returned + `; END $$`,
			"CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON shown FOR EACH ROW EXECUTE FUNCTION write()"}
	}
	rules := func(relation string) []string {
		return []string{
			"CREATE RULE write AS ON UPDATE TO " + relation + " DO INSTEAD UPDATE other SET stock = NEW.stock, status = NEW.status, version = NEW.version WHERE id = OLD.id RETURNING other.*",
			"CREATE RULE remove AS ON DELETE TO " + relation + " DO INSTEAD DELETE FROM other WHERE id = OLD.id RETURNING other.*",
			"CREATE RULE put AS ON INSERT TO " + relation + " DO INSTEAD INSERT INTO other (id) VALUES (NEW.id) RETURNING other.*",
		}
	}
	for name, c := range map[string]struct {
		relation string
		make     []string
	}{
		"NULL":             {"shown", trigger("NULL")},
		"NEW":              {"shown", trigger("CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END")},
		"rules":            {"shown", append([]string{view, "CREATE TABLE other AS SELECT * FROM items"}, rules("shown")...)},
		"rules of a table": {"items", append([]string{"CREATE TABLE other AS SELECT * FROM items"}, rules("items")...)},
		"nested":           {"outermost", append(trigger("NEW"), "CREATE VIEW between AS SELECT * FROM shown", "CREATE VIEW outermost AS SELECT * FROM between")},
	} {
		t.Run(name, func(t *testing.T) {
			matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
				dsn := fresh(t, target, c.make...)
				refuses(t, target, dsn, c.relation, c.relation+": ")
				if name == "NULL" {
					refuses(t, target, dsn, "public."+c.relation, "public."+c.relation+": ")
				}
			})
		})
	}
}

// A rule stands in the way of its own command only.
func TestRuleOfOneCommand(t *testing.T) {
	matrix.Run(t, matrix.Postgres()[:1], func(t *testing.T, target matrix.Target) {
		dsn := fresh(t, target, `CREATE RULE soft AS ON DELETE TO items DO INSTEAD UPDATE items SET status = 'gone' WHERE id = OLD.id`)
		each(t, target, dsn, "items", func(o operation, err error, before, after [3]any) {
			if o.name == "Delete" {
				require.ErrorContains(t, err, "optimistic: items: ")
				require.ErrorContains(t, err, "in place of DELETE")
				require.Equal(t, before, after)
				return
			}
			require.NoError(t, err, o.name)
			require.Equal(t, o.want, after, o.name)
		})
		ids, err := atomic.NewSet(target.Connect(t, dsn), "items", []string{"id"})
		require.NoError(t, err)
		_, err = ids.Remove(t.Context(), 1)
		require.ErrorContains(t, err, "in place of DELETE")
	})
}

// An unqualified name is what the search_path makes of it. What is said of one table is not taken for another.
func TestSearchPath(t *testing.T) {
	matrix.Run(t, matrix.Postgres(), func(t *testing.T, target matrix.Target) {
		dsn := fresh(t, target, "CREATE SCHEMA tenant", "CREATE VIEW tenant.items AS SELECT * FROM public.items",
			"CREATE RULE nothing AS ON UPDATE TO tenant.items DO INSTEAD NOTHING")
		db := target.Connect(t, dsn)
		stock, err := atomic.NewCounter[int64](db, "items", "stock")
		require.NoError(t, err)
		decrement := func(path string) error {
			tx, err := db.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			_, err = tx.Exec("SET LOCAL search_path TO " + path)
			require.NoError(t, err)
			_, err = stock.WithTx(tx).Decrement(t.Context(), 1, 1)
			return err
		}
		lock := func(path string) error {
			return pessimistic.WithRowLock(t.Context(), db, pessimistic.Row{Table: "items", Key: 1},
				func(context.Context, *sqlx.Tx, *item) error { return nil },
				pessimistic.Before(func(ctx context.Context, tx *sqlx.Tx) error {
					_, err := tx.ExecContext(ctx, "SET LOCAL search_path TO "+path)
					return err
				}))
		}
		for range 2 {
			require.NoError(t, decrement("public"))
			require.ErrorContains(t, decrement("tenant"), "in place of UPDATE")
		}
		exec(t, db, "CREATE OR REPLACE VIEW tenant.items AS WITH x AS (SELECT * FROM public.items) SELECT * FROM x")
		for range 2 {
			require.NoError(t, lock("public"))
			require.ErrorContains(t, lock("tenant"), "locks no rows")
		}
	})
}

// Temporary tables work, and what is said of them is not taken for others.
func TestTemporaryTables(t *testing.T) {
	for _, targets := range [][]matrix.Target{matrix.Postgres(), mysqls(), matrix.SQLite()} {
		matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
			dsn := target.DSN(t)
			db := target.Connect(t, dsn)
			db.SetMaxOpenConns(1)
			exec(t, db, "CREATE TEMPORARY TABLE items "+columns, "INSERT INTO items VALUES "+rows)
			stock, err := atomic.NewCounter[int64](db, "items", "stock")
			require.NoError(t, err)
			for range 2 {
				_, err = stock.Decrement(t.Context(), 1, 1)
				require.NoError(t, err)
			}
			if target.Dialect == nogap.SQLite {
				exec(t, db, "DROP TABLE items", "CREATE TABLE others "+columns, "CREATE TEMPORARY VIEW items AS SELECT * FROM others")
				_, err = stock.Decrement(t.Context(), 1, 1)
				require.ErrorContains(t, err, "in place of UPDATE")
			}
		})
	}
}

// What a user may not see is taken as fine.
func TestWithoutRights(t *testing.T) {
	matrix.Run(t, mysqls(), func(t *testing.T, target matrix.Target) {
		dsn := target.DSN(t)
		admin := target.Connect(t, dsn)
		exec(t, admin, "CREATE TABLE items "+columns, "INSERT INTO items VALUES "+rows, "CREATE VIEW shown AS SELECT * FROM items",
			"CREATE USER looks@'%' IDENTIFIED BY 'x'", "GRANT SELECT, UPDATE ON shown TO looks@'%'")
		defer func() { exec(t, admin, "DROP USER looks@'%'") }()
		config, err := mysql.ParseDSN(dsn)
		require.NoError(t, err)
		config.User, config.Passwd = "looks", "x"
		stock, err := atomic.NewCounter[int64](target.Connect(t, config.FormatDSN()), "shown", "stock")
		require.NoError(t, err)
		_, err = stock.Decrement(t.Context(), 1, 1)
		require.NoError(t, err)
	})
}
