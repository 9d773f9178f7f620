//go:build unix

package anomalies_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
)

// call runs one transaction, which is said to be about one of the rows.
type call func(ctx context.Context, row int, fn func(ctx context.Context, tx *sqlx.Tx) error) error

// scenario runs transactions that meet, and reports whether the anomaly was seen.
type scenario func(ctx context.Context, do call, m *meeting, db *sqlx.DB) (seen bool, err error)

// meeting is where transactions wait for each other in mid-course. One that the other's locks keep away is not waited for
// longer than patience. Where the anomaly is expected nobody is kept away, and patience is long.
type meeting struct {
	patience time.Duration
	came     [2]chan struct{}
	once     [2]sync.Once
}

func newMeeting(patience time.Duration) *meeting {
	return &meeting{patience: patience, came: [2]chan struct{}{make(chan struct{}), make(chan struct{})}}
}

// at says that a transaction is here, and waits for the other one. One that is run again does not wait.
func (m *meeting) at(i int) {
	m.once[i].Do(func() {
		close(m.came[i])
		select {
		case <-m.came[1-i]:
		case <-time.After(m.patience):
		}
	})
}

// both runs two transactions at the same time.
func both(run func(i int) error) [2]error {
	var errs [2]error
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = run(i) })
	}
	wg.Wait()
	return errs
}

func read(ctx context.Context, tx sqlx.ExtContext, query string, args ...any) (n int, err error) {
	err = sqlx.GetContext(ctx, tx, &n, sqlx.Rebind(sqlx.BindType(tx.DriverName()), query), args...)
	return n, err
}

func write(ctx context.Context, tx *sqlx.Tx, query string, args ...any) error {
	_, err := tx.ExecContext(ctx, tx.Rebind(query), args...)
	return err
}

const (
	valueOf = "SELECT value FROM test WHERE id = ?"
	setTo   = "UPDATE test SET value = ? WHERE id = ?"
)

// g0 is a dirty write: the writes of two transactions are mixed.
func g0(ctx context.Context, do call, m *meeting, db *sqlx.DB) (bool, error) {
	both(func(i int) error {
		return do(ctx, 1, func(ctx context.Context, tx *sqlx.Tx) error {
			if err := write(ctx, tx, setTo, 11+i, 1); err != nil {
				return err
			}
			m.at(i)
			return write(ctx, tx, setTo, 21+i, 2)
		})
	})
	one, err := read(ctx, db, valueOf, 1)
	if err != nil {
		return false, err
	}
	two, err := read(ctx, db, valueOf, 2)
	return two-one != 10, err
}

// dirtyRead has a transaction read row 1 while another one has written 101 there, which ends with end.
func dirtyRead(end func(context.Context, *sqlx.Tx) error) scenario {
	return func(ctx context.Context, do call, m *meeting, _ *sqlx.DB) (bool, error) {
		saw := 0
		errs := both(func(i int) error {
			if i == 0 {
				err := do(ctx, 1, func(ctx context.Context, tx *sqlx.Tx) error {
					if err := write(ctx, tx, setTo, 101, 1); err != nil {
						return err
					}
					m.at(0)
					return end(ctx, tx)
				})
				if errors.Is(err, errUndone) {
					return nil
				}
				return err
			}
			<-m.came[0]
			defer m.once[1].Do(func() { close(m.came[1]) })
			return do(ctx, 1, func(ctx context.Context, tx *sqlx.Tx) (err error) {
				saw, err = read(ctx, tx, valueOf, 1)
				return err
			})
		})
		return saw == 101, errors.Join(errs[:]...)
	}
}

var errUndone = errors.New("undone")

var (
	// g1a is an aborted read, g1b an intermediate read.
	g1a = dirtyRead(func(context.Context, *sqlx.Tx) error { return errUndone })
	g1b = dirtyRead(func(ctx context.Context, tx *sqlx.Tx) error { return write(ctx, tx, setTo, 11, 1) })
)

// g1c is a circular flow of information: each sees what the other has written.
func g1c(ctx context.Context, do call, m *meeting, _ *sqlx.DB) (bool, error) {
	var saw [2]int
	errs := both(func(i int) error {
		return do(ctx, i+1, func(ctx context.Context, tx *sqlx.Tx) (err error) {
			if err = write(ctx, tx, setTo, 100, i+1); err != nil {
				return err
			}
			m.at(i)
			saw[i], err = read(ctx, tx, valueOf, 2-i)
			return err
		})
	})
	return errs == [2]error{} && saw == [2]int{100, 100}, nil
}

// between has a transaction read twice, and another one write in between.
func between(first, second func(context.Context, *sqlx.Tx) (int, error), row int, then func(context.Context, *sqlx.Tx) error,
	anomaly func(a, b int) bool) scenario {
	return func(ctx context.Context, do call, m *meeting, _ *sqlx.DB) (bool, error) {
		var a, b int
		errs := both(func(i int) error {
			if i == 0 {
				return do(ctx, 1, func(ctx context.Context, tx *sqlx.Tx) (err error) {
					if a, err = first(ctx, tx); err != nil {
						return err
					}
					m.at(0)
					b, err = second(ctx, tx)
					return err
				})
			}
			<-m.came[0]
			defer m.once[1].Do(func() { close(m.came[1]) })
			return do(ctx, row, then)
		})
		return errs[0] == nil && anomaly(a, b), nil
	}
}

func valueAt(id int) func(context.Context, *sqlx.Tx) (int, error) {
	return func(ctx context.Context, tx *sqlx.Tx) (int, error) { return read(ctx, tx, valueOf, id) }
}

func thirties(ctx context.Context, tx *sqlx.Tx) (int, error) {
	return read(ctx, tx, "SELECT count(*) FROM test WHERE value = 30")
}

var (
	// pmp: a predicate has one more row when it is looked at again.
	pmp = between(thirties, thirties, 2, func(ctx context.Context, tx *sqlx.Tx) error {
		return write(ctx, tx, "INSERT INTO test VALUES (3, 30)")
	}, func(a, b int) bool { return a != b })
	// gSingle is read skew: one row before, another one after the other's writes.
	gSingle = between(valueAt(1), valueAt(2), 1, func(ctx context.Context, tx *sqlx.Tx) error {
		if err := write(ctx, tx, setTo, 12, 1); err != nil {
			return err
		}
		return write(ctx, tx, setTo, 18, 2)
	}, func(a, b int) bool { return b-a != 10 && b-a != 6 })
)

// p4 is a lost update.
func p4(ctx context.Context, do call, m *meeting, db *sqlx.DB) (bool, error) {
	errs := both(func(i int) error {
		return do(ctx, 1, func(ctx context.Context, tx *sqlx.Tx) error {
			n, err := read(ctx, tx, valueOf, 1)
			if err != nil {
				return err
			}
			m.at(i)
			return write(ctx, tx, setTo, n+1, 1)
		})
	})
	n, err := read(ctx, db, valueOf, 1)
	return errs == [2]error{} && n != 12, err
}

// g2Item is write skew: each takes from a row of its own what both rows allow only once.
func g2Item(ctx context.Context, do call, m *meeting, db *sqlx.DB) (bool, error) {
	both(func(i int) error {
		return do(ctx, i+1, func(ctx context.Context, tx *sqlx.Tx) error {
			sum, err := read(ctx, tx, "SELECT sum(value) FROM test WHERE id IN (1, 2)")
			if err != nil {
				return err
			}
			m.at(i)
			if sum < 25 {
				return nil
			}
			return write(ctx, tx, "UPDATE test SET value = value - 25 WHERE id = ?", i+1)
		})
	})
	sum, err := read(ctx, db, "SELECT sum(value) FROM test WHERE id IN (1, 2)")
	return sum < 0, err
}

// g2 is write skew on a predicate: each inserts the row that the other one has not found.
func g2(ctx context.Context, do call, m *meeting, db *sqlx.DB) (bool, error) {
	both(func(i int) error {
		return do(ctx, i+1, func(ctx context.Context, tx *sqlx.Tx) error {
			n, err := thirties(ctx, tx)
			if err != nil {
				return err
			}
			m.at(i)
			if n > 0 {
				return nil
			}
			return write(ctx, tx, "INSERT INTO test VALUES (?, 30)", i+3)
		})
	})
	n, err := read(ctx, db, "SELECT count(*) FROM test WHERE value = 30")
	return n > 1, err
}
