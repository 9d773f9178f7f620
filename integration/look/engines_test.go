//go:build unix

package look_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
)

// mysqls are the targets in which a table may have an engine without transactions, one of each server.
func mysqls() (targets []matrix.Target) {
	for _, all := range [][]matrix.Target{matrix.MariaDB(), matrix.MySQL()} {
		if len(all) > 0 {
			targets = append(targets, all[0])
		}
	}
	return targets
}

// locking are the calls that lock rows of items in a transaction.
var locking = map[string]func(ctx context.Context, db *sql.DB, table string, fn func(tx *sqlx.Tx) error) error{
	"WithRowLock": func(ctx context.Context, db *sql.DB, table string, fn func(tx *sqlx.Tx) error) error {
		return pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: table, Key: 1},
			func(_ context.Context, tx *sqlx.Tx, _ *item) error { return fn(tx) })
	},
	"WithRowLocks": func(ctx context.Context, db *sql.DB, table string, fn func(tx *sqlx.Tx) error) error {
		return pessimistic.WithRowLocks(ctx, db, pessimistic.Rows{Table: table, Keys: []any{1, 2}},
			func(_ context.Context, tx *sqlx.Tx, _ []*item) error { return fn(tx) })
	},
	"Claim": func(ctx context.Context, db *sql.DB, table string, fn func(tx *sqlx.Tx) error) error {
		return pessimistic.Claim(ctx, db, pessimistic.Queue{Table: table, OrderBy: "id", Limit: 1},
			func(_ context.Context, tx *sqlx.Tx, _ []*item) error { return fn(tx) })
	},
	"LockRow": func(ctx context.Context, db *sql.DB, table string, fn func(tx *sqlx.Tx) error) error {
		tx, err := sqlx.NewDb(db, "mysql").Beginx()
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err = pessimistic.LockRow[item](ctx, tx, pessimistic.Row{Table: table, Key: 1}); err == nil {
			err = fn(tx)
		}
		return err
	},
}

func TestEngineWithoutTransactions(t *testing.T) {
	for _, engine := range []string{"MyISAM", "Aria", "MEMORY"} {
		t.Run(engine, func(t *testing.T) {
			targets := mysqls()
			if engine == "Aria" {
				targets = targets[:1] // only MariaDB has it
			}
			matrix.Run(t, targets, func(t *testing.T, target matrix.Target) {
				dsn := target.DSN(t)
				exec(t, target.Connect(t, dsn), "CREATE TABLE items "+columns+" ENGINE="+engine, "INSERT INTO items VALUES "+rows,
					"CREATE VIEW shown AS SELECT * FROM items", "CREATE VIEW outermost AS SELECT id, stock, status, version FROM shown AS s")
				for _, relation := range []string{"items", "shown", "outermost"} {
					refuses(t, target, dsn, relation, relation+": ")
					for name, lock := range locking {
						err := lock(t.Context(), target.Connect(t, dsn), relation, func(tx *sqlx.Tx) error {
							return errDeclined
						})
						require.ErrorContains(t, err, engine, "%s of %s", name, relation)
						require.NotErrorIs(t, err, errDeclined)
					}
				}
				refuses(t, target, with(dsn, "sql_mode=%27ANSI_QUOTES%27"), "outermost", engine)
				stock, err := atomic.NewCounter[int64](target.Connect(t, dsn), "items", "stock")
				require.NoError(t, err)
				err = stock.Transfer(t.Context(), 50, atomic.Key{2}, atomic.Key{1})
				require.ErrorContains(t, err, engine)
			})
		})
	}
}

// The engines that are rarer are told in the same way.
func TestRareEngines(t *testing.T) {
	const keyless = "(id BIGINT NOT NULL, stock BIGINT NOT NULL, status VARCHAR(20) NOT NULL, version BIGINT NOT NULL)"
	myisam := []string{"CREATE TABLE one " + columns + " ENGINE=MyISAM", "CREATE TABLE two " + columns + " ENGINE=MyISAM"}
	type engine struct {
		targets []matrix.Target
		create  []string
	}
	engines := map[string]engine{
		"MRG_MyISAM": {mysqls(), append(myisam, "CREATE TABLE items "+columns+" ENGINE=MERGE UNION=(one, two)")},
		"CSV":        {mysqls(), []string{"CREATE TABLE items " + keyless + " ENGINE=CSV"}},
		"MyISAM":     {matrix.MariaDB()[:1], []string{"CREATE TABLE items " + columns + " ENGINE=MyISAM PARTITION BY HASH (id) PARTITIONS 4"}},
	}
	if mysql := matrix.MySQL(); len(mysql) > 0 { // on MariaDB the engine is a plugin, which is not loaded
		engines["BLACKHOLE"] = engine{mysql[:1], []string{"CREATE TABLE items " + columns + " ENGINE=BLACKHOLE"}}
	}
	for name, c := range engines {
		t.Run(name, func(t *testing.T) {
			matrix.Run(t, c.targets, func(t *testing.T, target matrix.Target) {
				db := target.Open(t)
				exec(t, db, c.create...)
				stock, err := atomic.NewCounter[int64](db, "items", "stock")
				require.NoError(t, err)
				_, err = stock.Decrement(t.Context(), 1, 1)
				require.Error(t, err)
				require.Contains(t, strings.ToLower(err.Error()), "engine "+strings.ToLower(name))
			})
		})
	}
}
