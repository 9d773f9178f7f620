//go:build unix

package transaction_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/transaction"
)

const callers = 20

var errRefused = errors.New("refused by the rule")

// Write skew: of the doctors on call all but one may leave. Each of them sees that others are still there.
func TestWriteSkew(t *testing.T) {
	t.Parallel()
	leave := func(ctx context.Context, tx *sqlx.Tx, doctor int) error {
		var onCall int
		if err := tx.GetContext(ctx, &onCall, "SELECT count(*) FROM doctors WHERE on_call = 1"); err != nil {
			return err
		}
		if onCall < 2 {
			return errRefused
		}
		_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE doctors SET on_call = 0 WHERE id = ?"), doctor)
		return err
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE doctors (id INT PRIMARY KEY, on_call INT NOT NULL)")
		for i := range callers {
			exec(t, db, "INSERT INTO doctors VALUES (%d, 1)", i)
		}
		ctx := concurrent.Within(t, 2*time.Minute)
		concurrent.Run(t, callers, func(i int) error {
			err := transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
				return leave(ctx, tx, i)
			}, transaction.Serializable())
			return ignore(err, errRefused)
		})
		require.Equal(t, 1, number(t, db, "SELECT count(*) FROM doctors WHERE on_call = 1"))
	})
}

// Phantoms: the sum of the rows may not exceed a limit, and every caller inserts one more.
func TestSumLimit(t *testing.T) {
	t.Parallel()
	const limit, each = 50, 7
	book := func(ctx context.Context, tx *sqlx.Tx, id int) error {
		var sum int
		if err := tx.GetContext(ctx, &sum, "SELECT CAST(COALESCE(sum(seats), 0) AS DECIMAL) FROM bookings WHERE event = 'a'"); err != nil {
			return err
		}
		if sum+each > limit {
			return errRefused
		}
		_, err := tx.ExecContext(ctx, tx.Rebind("INSERT INTO bookings (id, event, seats) VALUES (?, 'a', ?)"), id, each)
		return err
	}
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE bookings (id INT PRIMARY KEY, event VARCHAR(10) NOT NULL, seats INT NOT NULL)")
		ctx := concurrent.Within(t, 2*time.Minute)
		concurrent.Run(t, callers, func(i int) error {
			err := transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
				return book(ctx, tx, i)
			}, transaction.Serializable())
			return ignore(err, errRefused)
		})
		require.Equal(t, limit/each, number(t, db, "SELECT count(*) FROM bookings"))
	})
}

// The read-only anomaly (Fekete, O'Neil and O'Neil, SIGMOD Record 2004): a report of a closed day must not be changed by a
// transaction that began before the day was closed. Each day's report is read twice, and both must agree.
func TestReadOnlyAnomaly(t *testing.T) {
	const days = 30
	matrix.Each(t, func(t *testing.T, target matrix.Target) {
		db := target.Open(t)
		exec(t, db, "CREATE TABLE control (id INT PRIMARY KEY, day INT NOT NULL)")
		exec(t, db, "CREATE TABLE receipts (id INT PRIMARY KEY, day INT NOT NULL)")
		exec(t, db, "INSERT INTO control VALUES (1, 0)")
		ctx := concurrent.Within(t, 2*time.Minute)
		run := func(fn func(ctx context.Context, tx *sqlx.Tx) error, opts ...transaction.Option) error {
			return transaction.Run(ctx, db, fn, append(opts, transaction.Serializable())...)
		}
		report := func() (day, receipts int, err error) {
			err = run(func(ctx context.Context, tx *sqlx.Tx) error {
				if err := tx.GetContext(ctx, &day, "SELECT day FROM control WHERE id = 1"); err != nil {
					return err
				}
				return tx.GetContext(ctx, &receipts, tx.Rebind("SELECT count(*) FROM receipts WHERE day = ?"), day-1)
			}, transaction.ReadOnly())
			return day, receipts, err
		}
		reports := make([]map[int]int, callers)
		concurrent.Run(t, callers, func(i int) error {
			reports[i] = map[int]int{}
			for n := range days {
				switch {
				case i == 0: // closes the day
					if err := run(func(ctx context.Context, tx *sqlx.Tx) error {
						_, err := tx.ExecContext(ctx, "UPDATE control SET day = day + 1 WHERE id = 1")
						return err
					}); err != nil {
						return err
					}
				case i < callers/2: // adds a receipt to the day that is open
					if err := run(func(ctx context.Context, tx *sqlx.Tx) error {
						var day int
						if err := tx.GetContext(ctx, &day, "SELECT day FROM control WHERE id = 1"); err != nil {
							return err
						}
						_, err := tx.ExecContext(ctx, tx.Rebind("INSERT INTO receipts (id, day) VALUES (?, ?)"), i*1000+n, day)
						return err
					}); err != nil {
						return err
					}
				default:
					day, receipts, err := report()
					if err != nil {
						return err
					}
					reports[i][day-1] = receipts
				}
			}
			return nil
		})
		for _, seen := range reports {
			for day, receipts := range seen {
				var now int
				err := db.QueryRowContext(ctx, sqlx.Rebind(sqlx.BindType(bindName(target)), "SELECT count(*) FROM receipts WHERE day = ?"), day).Scan(&now)
				require.NoError(t, err)
				require.Equal(t, now, receipts, "the report of day %d has changed", day)
			}
		}
	})
}

func ignore(err, ignored error) error {
	if errors.Is(err, ignored) {
		return nil
	}
	return err
}
