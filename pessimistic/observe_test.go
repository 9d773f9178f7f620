package pessimistic_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/pessimistic"
)

// seen is an Observer that keeps what it is told.
type seen struct{ ended []end }

type end struct {
	nogap.Operation
	inside string // the operation in whose callback it was made
	nogap.Outcome
	attempts int
	waited   time.Duration
	inServer time.Duration // of it
}

type operationKey struct{}

func (s *seen) Start(ctx context.Context, op nogap.Operation) (context.Context, func(nogap.Result)) {
	inside, _ := ctx.Value(operationKey{}).(string)
	return context.WithValue(ctx, operationKey{}, op.Name), func(r nogap.Result) {
		s.ended = append(s.ended, end{op, inside, r.Outcome, r.Attempts, r.Waited, r.WaitedInServer})
	}
}

func TestObserver(t *testing.T) {
	const minute = time.Minute
	on := func(name, table string) nogap.Operation {
		return nogap.Operation{Name: "pessimistic." + name, Table: table}
	}
	rowLock := func(fn func(context.Context, *sqlx.Tx, *item) error, opts ...pessimistic.Option) func(context.Context, *sql.DB) error {
		return func(ctx context.Context, db *sql.DB) error {
			opts := append(opts, asPostgres, pessimistic.Backoff(func(int) time.Duration { return 0 }))
			return pessimistic.WithRowLock(ctx, db, itemOne, fn, opts...)
		}
	}
	failing := func(query, state string) func(fakedb.Call) error {
		return func(c fakedb.Call) error {
			if strings.Contains(c.Query, query) {
				time.Sleep(minute)
				return stateError(state)
			}
			return nil
		}
	}
	tests := []struct {
		name string
		fail func(fakedb.Call) error
		run  func(context.Context, *sql.DB) error
		want []end
	}{
		{"WithRowLock", nil, rowLock(nothing), []end{{on("WithRowLock", "items"), "", nogap.OutcomeOK, 1, 0, 0}}},
		{"WithRowLocks", nil, func(ctx context.Context, db *sql.DB) error {
			rows := pessimistic.Rows{Table: "shop.items", Keys: []any{1, 2}}
			return pessimistic.WithRowLocks(ctx, db, rows, func(context.Context, *sqlx.Tx, []*item) error { return nil }, asPostgres)
		}, []end{{on("WithRowLocks", "shop.items"), "", nogap.OutcomeOK, 1, 0, 0}}},
		{"Claim", nil, func(ctx context.Context, db *sql.DB) error {
			queue := pessimistic.Queue{Table: "items", Limit: 1}
			return pessimistic.Claim(ctx, db, queue, func(context.Context, *sqlx.Tx, []*item) error { return nil }, asPostgres)
		}, []end{{on("Claim", "items"), "", nogap.OutcomeOK, 1, 0, 0}}},
		{"what a callback calls", nil, func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithNamedLock(ctx, db, "a", func(ctx context.Context, tx *sqlx.Tx) error {
				_, err := pessimistic.LockRow[item](ctx, tx, itemOne)
				return err
			}, asPostgres)
		}, []end{
			{on("LockRow", "items"), "pessimistic.WithNamedLock", nogap.OutcomeOK, 1, 0, 0},
			{on("WithNamedLock", ""), "", nogap.OutcomeOK, 1, 0, 0},
		}},
		{"a transaction of somebody else", nil, func(ctx context.Context, db *sql.DB) error {
			tx, err := db.Begin()
			require.NoError(t, err)
			defer tx.Rollback()
			_, err = pessimistic.LockRow[item](ctx, tx, itemOne, asPostgres)
			return err
		}, nil},
		{"locked", failing("items", "55P03"), rowLock(nothing, pessimistic.NoWait()),
			[]end{{on("WithRowLock", "items"), "", nogap.OutcomeRefused, 1, minute, minute}}},
		{"timeout", failing("items", "55P03"), rowLock(nothing), []end{{on("WithRowLock", "items"), "", nogap.OutcomeRefused, 1, minute, minute}}},
		{"exhausted", failing("items", "40P01"), rowLock(nothing, pessimistic.MaxAttempts(3)),
			[]end{{on("WithRowLock", "items"), "", nogap.OutcomeExhausted, 3, 3 * minute, 3 * minute}}},
		{"an error", nil, rowLock(func(context.Context, *sqlx.Tx, *item) error { return errBoom }),
			[]end{{on("WithRowLock", "items"), "", nogap.OutcomeError, 1, 0, 0}}},
		{"nothing sent", nil, func(ctx context.Context, db *sql.DB) error {
			return pessimistic.WithRowLock(ctx, db, pessimistic.Row{Table: "items"}, nothing)
		}, []end{{on("WithRowLock", "items"), "", nogap.OutcomeError, 0, 0, 0}}},
		{"waiting in this process", nil, func(ctx context.Context, db *sql.DB) error {
			return rowLock(func(context.Context, *sqlx.Tx, *item) error {
				err := rowLock(nothing, pessimistic.Timeout(minute))(ctx, db)
				require.ErrorIs(t, err, pessimistic.ErrLockTimeout)
				return nil
			})(ctx, db)
		}, []end{
			{on("WithRowLock", "items"), "", nogap.OutcomeRefused, 0, minute, 0},
			{on("WithRowLock", "items"), "", nogap.OutcomeOK, 1, 0, 0},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := server(tt.fail).DB()
				defer db.Close()
				o := &seen{}
				defer nogap.Observe(db, o)()
				_ = tt.run(t.Context(), db) // the outcome tells the error
				require.Equal(t, tt.want, o.ended)
			})
		})
	}
}
