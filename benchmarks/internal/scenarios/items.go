//go:build unix

package scenarios

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
)

// item is a row of the table items. Its ids begin with 1.
type item struct {
	ID      int64 `db:"id" gorm:"primaryKey" bun:"id,pk"`
	Stock   int64 `db:"stock" bun:"stock"`
	Version int64 `db:"version" bun:"version"`
}

const fullStock = int64(1e12) // nobody empties it

// items are the Subject from whose stock each call takes.
type items struct {
	perCall int64 // how many a call takes, in all rows together
	before  int64
}

func itemsOf(perCall int64) func() contest.Subject {
	return func() contest.Subject { return &items{perCall: perCall} }
}

func (*items) Setup(ctx context.Context, s *contest.Stage) error {
	err := execAll(ctx, s.DB, "DROP TABLE IF EXISTS items",
		"CREATE TABLE items (id BIGINT PRIMARY KEY, stock BIGINT NOT NULL, version BIGINT NOT NULL)")
	if err != nil {
		return err
	}
	return insertRange(ctx, s.DB, "items (id, stock, version)", 1, int64(s.Rows), func(id int64) string {
		return fmt.Sprintf("(%d, %d, 0)", id, fullStock)
	})
}

func (it *items) Before(ctx context.Context, s *contest.Stage) (err error) {
	it.before, err = it.total(ctx, s)
	return err
}

func (it *items) After(ctx context.Context, s *contest.Stage, acknowledged, failed int64) (contest.Wrong, error) {
	now, err := it.total(ctx, s)
	if it.perCall == 0 { // what one row loses another one gets
		gone := it.before - now
		return contest.Wrong{Lost: max(gone, -gone)}, err
	}
	return contest.Compared((it.before-now)/it.perCall, acknowledged, failed), err
}

func (*items) total(ctx context.Context, s *contest.Stage) (sum int64, err error) {
	return sum, s.DB.QueryRowContext(ctx, "SELECT sum(stock) FROM items").Scan(&sum)
}

// anyRow returns the id of one of the rows.
func anyRow(s *contest.Stage) int64 { return 1 + rand.Int64N(int64(s.Rows)) }

// twoRows returns the ids of two different rows.
func twoRows(s *contest.Stage) (a, b int64) {
	a, b = anyRow(s), 1+rand.Int64N(int64(s.Rows-1))
	if b >= a {
		b++
	}
	return a, b
}
