//go:build unix

package anomalies_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// call runs one transaction, which is said to be about one of the rows.
type call func(ctx context.Context, row int, fn func(ctx context.Context, tx steps) error) error

// scenario runs transactions that meet, and reports whether the anomaly was seen.
type scenario func(ctx context.Context, do call, m *meeting, db bySQL) (seen bool, err error)

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

// second runs what comes to the meeting when the other one is there, and frees it at the latest when it has ended.
func (m *meeting) second(run func() error) error {
	<-m.came[0]
	defer m.once[1].Do(func() { close(m.came[1]) })
	return run()
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

// g0 is a dirty write: the writes of two transactions are mixed.
func g0(ctx context.Context, do call, m *meeting, db bySQL) (bool, error) {
	both(func(i int) error {
		return do(ctx, 1, func(ctx context.Context, tx steps) error {
			if err := tx.set(ctx, 1, 10, 11+i); err != nil {
				return err
			}
			m.at(i)
			return tx.set(ctx, 2, 20, 21+i)
		})
	})
	one, err := db.value(ctx, 1)
	if err != nil {
		return false, err
	}
	two, err := db.value(ctx, 2)
	return two-one != 10, err
}

// dirtyRead has a transaction read row 1 while another one has written 101 there, which ends with end.
func dirtyRead(end func(context.Context, steps) error) scenario {
	return func(ctx context.Context, do call, m *meeting, _ bySQL) (bool, error) {
		saw := 0
		errs := both(func(i int) error {
			if i == 0 {
				err := do(ctx, 1, func(ctx context.Context, tx steps) error {
					if err := tx.set(ctx, 1, 10, 101); err != nil {
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
			return m.second(func() error {
				return do(ctx, 1, func(ctx context.Context, tx steps) (err error) {
					saw, err = tx.value(ctx, 1)
					return err
				})
			})
		})
		return saw == 101, errors.Join(errs[:]...)
	}
}

var errUndone = errors.New("undone")

var (
	// g1a is an aborted read, g1b an intermediate read.
	g1a = dirtyRead(func(context.Context, steps) error { return errUndone })
	g1b = dirtyRead(func(ctx context.Context, tx steps) error { return tx.set(ctx, 1, 101, 11) })
)

// g1c is a circular flow of information: each sees what the other has written.
func g1c(ctx context.Context, do call, m *meeting, _ bySQL) (bool, error) {
	var saw [2]int
	errs := both(func(i int) error {
		return do(ctx, i+1, func(ctx context.Context, tx steps) (err error) {
			if err = tx.set(ctx, i+1, 10*(i+1), 100); err != nil {
				return err
			}
			m.at(i)
			saw[i], err = tx.value(ctx, 2-i)
			return err
		})
	})
	return errs == [2]error{} && saw == [2]int{100, 100}, nil
}

// otv is an observed transaction that vanishes: whoever has seen the writes of one transaction sees later what was there
// before them. Two transactions write both rows, one after the other, and a third one reads while the second one writes.
func otv(ctx context.Context, do call, m *meeting, _ bySQL) (bool, error) {
	written := make(chan struct{})
	var saw []int // 0 is what was there, 1 and 2 are what the first and the second one wrote
	errs := both(func(i int) error {
		if i == 0 {
			defer close(written)
			err := do(ctx, 1, func(ctx context.Context, tx steps) error {
				return errors.Join(tx.set(ctx, 1, 10, 11), tx.set(ctx, 2, 20, 19))
			})
			if err != nil {
				return err
			}
			return do(ctx, 1, func(ctx context.Context, tx steps) error {
				if err := tx.set(ctx, 1, 11, 12); err != nil {
					return err
				}
				m.at(0)
				return tx.set(ctx, 2, 19, 18)
			})
		}
		return m.second(func() error {
			return do(ctx, 1, func(ctx context.Context, tx steps) error {
				saw = nil
				look := func() error {
					one, err := tx.value(ctx, 1)
					if err != nil {
						return err
					}
					two, err := tx.value(ctx, 2)
					saw = append(saw, one-10, 20-two)
					return err
				}
				if err := look(); err != nil {
					return err
				}
				m.at(1)
				select {
				case <-written:
				case <-time.After(m.patience):
				}
				return look()
			})
		})
	})
	return errs[1] == nil && !slices.IsSorted(saw), errs[0]
}

// between has a transaction read twice, and another one write in between.
func between(first, second func(context.Context, steps) (int, error), row int, then func(context.Context, steps) error,
	anomaly func(a, b int) bool) scenario {
	return func(ctx context.Context, do call, m *meeting, _ bySQL) (bool, error) {
		var a, b int
		errs := both(func(i int) error {
			if i == 0 {
				return do(ctx, 1, func(ctx context.Context, tx steps) (err error) {
					if a, err = first(ctx, tx); err != nil {
						return err
					}
					m.at(0)
					b, err = second(ctx, tx)
					return err
				})
			}
			return m.second(func() error { return do(ctx, row, then) })
		})
		return errs[0] == nil && anomaly(a, b), nil
	}
}

func valueAt(id int) func(context.Context, steps) (int, error) {
	return func(ctx context.Context, tx steps) (int, error) { return tx.value(ctx, id) }
}

func thirties(ctx context.Context, tx steps) (int, error) { return tx.thirties(ctx) }

var (
	// pmp: a predicate has one more row when it is looked at again.
	pmp = between(thirties, thirties, 2, func(ctx context.Context, tx steps) error {
		return tx.insert(ctx, 3)
	}, func(a, b int) bool { return a != b })
	// gSingle is read skew: one row before, another one after the other's writes.
	gSingle = between(valueAt(1), valueAt(2), 1, func(ctx context.Context, tx steps) error {
		if err := tx.set(ctx, 1, 10, 12); err != nil {
			return err
		}
		return tx.set(ctx, 2, 20, 18)
	}, func(a, b int) bool { return b-a != 10 && b-a != 6 })
)

// p4 is a lost update.
func p4(ctx context.Context, do call, m *meeting, db bySQL) (bool, error) {
	errs := both(func(i int) error {
		return do(ctx, 1, func(ctx context.Context, tx steps) error {
			return tx.raise(ctx, 1, 1, func() { m.at(i) })
		})
	})
	n, err := db.value(ctx, 1)
	return errs == [2]error{} && n != 12, err
}

// g2Item is write skew: each adds to a row of its own what the sum of both rows allows only once.
func g2Item(ctx context.Context, do call, m *meeting, db bySQL) (bool, error) {
	const most = 60
	sum := func(ctx context.Context, tx steps) (int, error) {
		one, err := tx.value(ctx, 1)
		if err != nil {
			return 0, err
		}
		two, err := tx.value(ctx, 2)
		return one + two, err
	}
	both(func(i int) error {
		return do(ctx, i+1, func(ctx context.Context, tx steps) error {
			n, err := sum(ctx, tx)
			if err != nil {
				return err
			}
			m.at(i)
			if n+25 > most {
				return nil
			}
			return tx.raise(ctx, i+1, 25, func() {})
		})
	})
	n, err := sum(ctx, db)
	return n > most, err
}

// g2 is write skew on a predicate: each inserts the row that the other one has not found.
func g2(ctx context.Context, do call, m *meeting, db bySQL) (bool, error) {
	both(func(i int) error {
		return do(ctx, i+1, func(ctx context.Context, tx steps) error {
			n, err := tx.thirties(ctx)
			if err != nil {
				return err
			}
			m.at(i)
			if n > 0 {
				return nil
			}
			return tx.insert(ctx, i+3)
		})
	})
	n, err := db.thirties(ctx)
	return n > 1, err
}
