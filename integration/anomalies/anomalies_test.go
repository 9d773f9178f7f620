//go:build unix

package anomalies_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/pessimistic"
	"github.com/nogap-go/nogap/transaction"
)

var scenarios = []struct {
	name string
	run  scenario
}{
	{"G0", g0}, {"G1a", g1a}, {"G1b", g1b}, {"G1c", g1c}, {"PMP", pmp},
	{"P4", p4}, {"G-single", gSingle}, {"G2-item", g2Item}, {"G2", g2},
}

type testRow struct {
	Value int `db:"value"`
}

var calls = []struct {
	name string
	of   func(*sqlx.DB) call
}{
	{"by hand", func(db *sqlx.DB) call {
		return func(ctx context.Context, _ int, fn func(context.Context, *sqlx.Tx) error) error {
			tx, err := db.BeginTxx(ctx, &sql.TxOptions{Isolation: readCommitted(db)})
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if err := fn(ctx, tx); err != nil {
				return err
			}
			return tx.Commit()
		}
	}},
	{"WithRowLock", func(db *sqlx.DB) call {
		return func(ctx context.Context, row int, fn func(context.Context, *sqlx.Tx) error) error {
			return pessimistic.WithRowLock(ctx, db.DB, pessimistic.Row{Table: "test", Key: row},
				func(ctx context.Context, tx *sqlx.Tx, _ *testRow) error { return fn(ctx, tx) })
		}
	}},
	{"WithRowLocks", func(db *sqlx.DB) call {
		return func(ctx context.Context, _ int, fn func(context.Context, *sqlx.Tx) error) error {
			return pessimistic.WithRowLocks(ctx, db.DB, pessimistic.Rows{Table: "test", Keys: []any{1, 2}},
				func(ctx context.Context, tx *sqlx.Tx, _ []*testRow) error { return fn(ctx, tx) })
		}
	}},
	{"WithNamedLock", func(db *sqlx.DB) call {
		return func(ctx context.Context, _ int, fn func(context.Context, *sqlx.Tx) error) error {
			return pessimistic.WithNamedLock(ctx, db.DB, "test", fn)
		}
	}},
	{"Run", func(db *sqlx.DB) call {
		return func(ctx context.Context, _ int, fn func(context.Context, *sqlx.Tx) error) error {
			return transaction.Run(ctx, db.DB, fn)
		}
	}},
	{"Serializable", func(db *sqlx.DB) call {
		return func(ctx context.Context, _ int, fn func(context.Context, *sqlx.Tx) error) error {
			return transaction.Run(ctx, db.DB, fn, transaction.Serializable())
		}
	}},
}

// readCommitted is the level of the control. SQLite has one level only, and a driver that refuses others.
func readCommitted(db *sqlx.DB) sql.IsolationLevel {
	if db.DriverName() == "" {
		return sql.LevelDefault
	}
	return sql.LevelReadCommitted
}

func TestAnomalies(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for _, c := range calls {
			for _, s := range scenarios {
				t.Run(c.name+"/"+s.name, func(t *testing.T) {
					names := map[nogap.Dialect]string{nogap.Postgres: "postgres", nogap.MySQL: "mysql", nogap.MariaDB: "mysql"}
					db := sqlx.NewDb(target.Open(t), names[target.Dialect])
					lets := letsThrough(target.Dialect, c.name, s.name, checksSnapshot(t, target, db))
					patience := 50 * time.Millisecond // others are kept away by locks
					if lets {
						patience = 20 * time.Second
					}
					db.MustExec("CREATE TABLE test (id INT PRIMARY KEY, value INT NOT NULL)")
					db.MustExec("INSERT INTO test VALUES (1, 10), (2, 20)")
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					seen, err := s.run(ctx, c.of(db), newMeeting(patience), db)
					require.NoError(t, err)
					require.Equal(t, lets, seen)
				})
			}
		}
	})
}

// checksSnapshot reports whether MariaDB refuses to write a row that has changed after the transaction's snapshot.
func checksSnapshot(t *testing.T, target matrix.Target, db *sqlx.DB) bool {
	t.Helper()
	if target.Dialect != nogap.MariaDB {
		return false
	}
	var name, value string
	err := db.QueryRow("SHOW VARIABLES LIKE 'innodb_snapshot_isolation'").Scan(&name, &value)
	if !errors.Is(err, sql.ErrNoRows) {
		require.NoError(t, err)
	}
	return value == "ON"
}

// letsThrough reports whether a call lets an anomaly through. SQLite lets none through.
func letsThrough(dialect nogap.Dialect, call, anomaly string, checksSnapshot bool) bool {
	var through []string
	postgres := dialect == nogap.Postgres
	switch {
	case dialect == nogap.SQLite:
	case call == "by hand", call == "Run" && postgres: // READ COMMITTED
		through = []string{"PMP", "P4", "G-single", "G2-item", "G2"}
	case call == "WithRowLock" && postgres:
		through = []string{"PMP", "G2-item", "G2"}
	case call == "WithRowLock", call == "Run" && checksSnapshot:
		through = []string{"G2-item", "G2"}
	case call == "Run": // REPEATABLE READ
		through = []string{"P4", "G2-item", "G2"}
	}
	return slices.Contains(through, anomaly)
}
