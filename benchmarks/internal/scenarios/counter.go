//go:build unix

package scenarios

import (
	"context"
	"errors"

	"gorm.io/gorm"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

var counter = contest.Scenario{
	Name:       "counter",
	Task:       "Take one from the stock of a row, if one is left.",
	Places:     places.SQL,
	NewSubject: itemsOf(1),
	Ways: []contest.Way{
		{Name: "atomic.Counter", Kind: contest.Nogap, Open: atomicCounter},
		{Name: "atomic.Coalesce", Kind: contest.Nogap, Open: atomicCoalesce},
		{Name: "guarded UPDATE", Kind: contest.ByHand, Open: guardedUpdate},
		{Name: "GORM gorm.Expr", Kind: contest.Rival, Open: gormExpression},
		{Name: "bun Set", Kind: contest.Rival, Open: bunSet},
		{Name: "read, then write", Kind: contest.Naive, Open: readThenWrite},
	},
}

var errSoldOut = errors.New("sold out")

func atomicCounter(_ context.Context, s *contest.Stage) (contest.Call, error) {
	c, err := atomic.NewCounter[int64](s.DB, "items", "stock")
	return func(ctx context.Context, _ int) error {
		_, err := c.DecrementIfPositive(ctx, anyRow(s))
		return err
	}, err
}

func atomicCoalesce(_ context.Context, s *contest.Stage) (contest.Call, error) {
	c, err := atomic.NewCounter[int64](s.DB, "items", "stock")
	if err != nil {
		return nil, err
	}
	hot := atomic.Coalesce(c)
	return func(ctx context.Context, _ int) error {
		_, err := hot.DecrementIfPositive(ctx, anyRow(s))
		return err
	}, nil
}

// guardedUpdate returns what is left by the same statement, as atomic.Counter does.
func guardedUpdate(_ context.Context, s *contest.Stage) (contest.Call, error) {
	if s.LikeMySQL() {
		return func(ctx context.Context, _ int) error {
			res, err := s.DB.ExecContext(ctx,
				"UPDATE items SET stock = LAST_INSERT_ID(stock - 1) WHERE id = ? AND stock >= 1", anyRow(s))
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil || n == 0 {
				return errors.Join(err, errSoldOut)
			}
			_, err = res.LastInsertId()
			return err
		}, nil
	}
	update := bind(s, "UPDATE items SET stock = stock - 1 WHERE id = ? AND stock >= 1 RETURNING stock")
	return func(ctx context.Context, _ int) error {
		var left int64
		return s.DB.QueryRowContext(ctx, update, anyRow(s)).Scan(&left)
	}, nil
}

func gormExpression(_ context.Context, s *contest.Stage) (contest.Call, error) {
	db, err := openGORM(s)
	return func(ctx context.Context, _ int) error {
		res := db.WithContext(ctx).Model(&item{}).Where("id = ? AND stock >= 1", anyRow(s)).
			Update("stock", gorm.Expr("stock - 1"))
		if res.Error == nil && res.RowsAffected == 0 {
			return errSoldOut
		}
		return res.Error
	}, err
}

func bunSet(_ context.Context, s *contest.Stage) (contest.Call, error) {
	db := openBun(s)
	return func(ctx context.Context, _ int) error {
		res, err := db.NewUpdate().Model((*item)(nil)).Set("stock = stock - 1").Where("id = ? AND stock >= 1", anyRow(s)).Exec(ctx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, errSoldOut)
		}
		return nil
	}, nil
}

// readThenWrite loses what others write between its two statements.
func readThenWrite(_ context.Context, s *contest.Stage) (contest.Call, error) {
	read := bind(s, "SELECT stock FROM items WHERE id = ?")
	write := bind(s, "UPDATE items SET stock = ? WHERE id = ?")
	return func(ctx context.Context, _ int) error {
		id := anyRow(s)
		var stock int64
		if err := s.DB.QueryRowContext(ctx, read, id).Scan(&stock); err != nil {
			return err
		}
		if stock < 1 {
			return errSoldOut
		}
		_, err := s.DB.ExecContext(ctx, write, stock-1, id)
		return err
	}, nil
}
