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
	// steps says that the anomaly needs no transaction of several steps that write, so it is there for calls on the pool.
	steps bool
}{
	{"G0", g0, false}, {"G1a", g1a, false}, {"G1b", g1b, false}, {"G1c", g1c, false}, {"OTV", otv, false},
	{"PMP", pmp, true}, {"P4", p4, true}, {"G-single", gSingle, true}, {"G2-item", g2Item, true}, {"G2", g2, true},
}

var calls = []struct {
	name  string
	words func(*testing.T, *sqlx.DB) vocabulary
	run   func(ctx context.Context, db *sqlx.DB, row int, fn func(context.Context, *sqlx.Tx) error) error
}{
	{"READ UNCOMMITTED", inSQL, byHand(sql.LevelReadUncommitted)}, // the control: what nogap never chooses
	{"READ COMMITTED", inSQL, byHand(sql.LevelReadCommitted)},
	{"WithRowLock", inSQL, func(ctx context.Context, db *sqlx.DB, row int, fn func(context.Context, *sqlx.Tx) error) error {
		return pessimistic.WithRowLock(ctx, db.DB, pessimistic.Row{Table: "test", Key: row},
			func(ctx context.Context, tx *sqlx.Tx, _ *testRow) error { return fn(ctx, tx) })
	}},
	{"WithRowLocks", inSQL, func(ctx context.Context, db *sqlx.DB, _ int, fn func(context.Context, *sqlx.Tx) error) error {
		return pessimistic.WithRowLocks(ctx, db.DB, pessimistic.Rows{Table: "test", Keys: []any{1, 2}},
			func(ctx context.Context, tx *sqlx.Tx, _ []*testRow) error { return fn(ctx, tx) })
	}},
	{"WithNamedLock", inSQL, func(ctx context.Context, db *sqlx.DB, _ int, fn func(context.Context, *sqlx.Tx) error) error {
		return pessimistic.WithNamedLock(ctx, db.DB, "test", fn)
	}},
	{"Run", inSQL, inRun()},
	{"Serializable", inSQL, inRun(transaction.Serializable())},
	{"atomic in Run", inAtomic, inRun()},
	{"optimistic in Run", inOptimistic, inRun()},
	{"atomic", inAtomic, nil}, // on the pool
	{"optimistic", inOptimistic, nil},
}

func byHand(level sql.IsolationLevel) func(context.Context, *sqlx.DB, int, func(context.Context, *sqlx.Tx) error) error {
	return func(ctx context.Context, db *sqlx.DB, _ int, fn func(context.Context, *sqlx.Tx) error) error {
		options := sql.TxOptions{Isolation: level}
		if db.DriverName() == "" { // SQLite, which has one level only, and a driver that refuses others
			options = sql.TxOptions{}
		}
		tx, err := db.BeginTxx(ctx, &options)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return tx.Commit()
	}
}

func inRun(opts ...transaction.Option) func(context.Context, *sqlx.DB, int, func(context.Context, *sqlx.Tx) error) error {
	return func(ctx context.Context, db *sqlx.DB, _ int, fn func(context.Context, *sqlx.Tx) error) error {
		return transaction.Run(ctx, db.DB, fn, opts...)
	}
}

func TestAnomalies(t *testing.T) {
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		for _, c := range calls {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				names := map[nogap.Dialect]string{nogap.Postgres: "postgres", nogap.MySQL: "mysql", nogap.MariaDB: "mysql"}
				db := sqlx.NewDb(target.Open(t), names[target.Dialect])
				db.MustExec(schema)
				words := c.words(t, db)
				do := func(ctx context.Context, row int, fn func(context.Context, steps) error) error {
					if c.run == nil {
						return fn(ctx, words(nil))
					}
					return c.run(ctx, db, row, func(ctx context.Context, tx *sqlx.Tx) error { return fn(ctx, words(tx)) })
				}
				snapshot := checksSnapshot(t, target, db)
				for _, s := range scenarios {
					if c.run == nil && !s.steps {
						continue
					}
					t.Run(s.name, func(t *testing.T) {
						lets := letsThrough(target.Dialect, c.name, s.name, snapshot)
						patience := 50 * time.Millisecond // others are kept away by locks
						if lets {
							patience = 20 * time.Second
						}
						db.MustExec("DELETE FROM test")
						db.MustExec("INSERT INTO test (id, value) VALUES (1, 10), (2, 20)")
						ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
						defer cancel()
						seen, err := s.run(ctx, do, newMeeting(patience), bySQL{db})
						require.NoError(t, err)
						require.Equal(t, lets, seen)
					})
				}
			})
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

// letsThrough reports whether a call lets an anomaly through.
func letsThrough(dialect nogap.Dialect, call, anomaly string, checksSnapshot bool) bool {
	var (
		skew          = []string{"G2-item", "G2"}
		readCommitted = []string{"PMP", "P4", "G-single", "G2-item", "G2"}
		through       []string
		postgres      = dialect == nogap.Postgres
	)
	switch call {
	case "READ UNCOMMITTED":
		through = readCommitted
		if !postgres {
			through = append(through, "G1a", "G1b", "G1c", "OTV")
		}
	case "READ COMMITTED":
		through = readCommitted
	case "WithRowLock":
		through = skew
		if postgres {
			through = append(through, "PMP")
		}
	case "Run":
		through = skew
		if postgres {
			through = readCommitted
		} else if !checksSnapshot {
			through = append(through, "P4")
		}
	case "atomic in Run", "optimistic in Run":
		through = skew
		if postgres {
			through = append(through, "PMP", "G-single")
		}
	case "atomic", "optimistic":
		return slices.Contains(append(skew, "PMP", "G-single"), anomaly) // no transaction of SQLite's is around them
	}
	return dialect != nogap.SQLite && slices.Contains(through, anomaly)
}
