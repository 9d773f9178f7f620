//go:build unix

package scenarios

import (
	"context"
	stdatomic "sync/atomic"

	"gorm.io/gorm/clause"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
)

var set = contest.Scenario{
	Name:       "set",
	Task:       "Like a post once; each like comes twice.",
	Places:     places.SomeSQL,
	NewSubject: func() contest.Subject { return &likes{} },
	Ways: []contest.Way{
		{Name: "atomic.Set", Kind: contest.Nogap, Open: setAdd},
		{Name: "ON CONFLICT DO NOTHING", Kind: contest.ByHand, Open: onConflict},
		{Name: "GORM OnConflict", Kind: contest.Rival, Open: gormOnConflict},
	},
}

// like is a row of the table likes.
type like struct {
	PostID int64 `gorm:"primaryKey;autoIncrement:false"`
	UserID int64 `gorm:"primaryKey;autoIncrement:false"`
}

// likes are the Subject to which calls add a row. Two calls add the same one.
type likes struct{ calls stdatomic.Int64 }

func (*likes) Setup(ctx context.Context, s *contest.Stage) error {
	return execAll(ctx, s.DB, "DROP TABLE IF EXISTS likes",
		"CREATE TABLE likes (post_id BIGINT NOT NULL, user_id BIGINT NOT NULL, PRIMARY KEY (post_id, user_id))")
}

func (l *likes) user() int64 { return (l.calls.Add(1) + 1) / 2 }

func (l *likes) Before(ctx context.Context, s *contest.Stage) error {
	l.calls.Store(0)
	return execAll(ctx, s.DB, "DELETE FROM likes")
}

func (l *likes) After(ctx context.Context, s *contest.Stage, _, failed int64) (contest.Wrong, error) {
	var rows int64
	err := s.DB.QueryRowContext(ctx, "SELECT count(*) FROM likes").Scan(&rows)
	return contest.Compared(rows, (l.calls.Load()+1)/2-failed, failed), err
}

func setAdd(_ context.Context, s *contest.Stage) (contest.Call, error) {
	all, err := atomic.NewSet(s.DB, "likes", []string{"post_id", "user_id"})
	l := s.Subject.(*likes)
	return func(ctx context.Context, _ int) error {
		_, err := all.Add(ctx, 1, l.user())
		return err
	}, err
}

func onConflict(_ context.Context, s *contest.Stage) (contest.Call, error) {
	insert := bind(s, "INSERT INTO likes (post_id, user_id) VALUES (?, ?) ON CONFLICT DO NOTHING")
	l := s.Subject.(*likes)
	return func(ctx context.Context, _ int) error {
		res, err := s.DB.ExecContext(ctx, insert, 1, l.user())
		if err != nil {
			return err
		}
		_, err = res.RowsAffected()
		return err
	}, nil
}

func gormOnConflict(_ context.Context, s *contest.Stage) (contest.Call, error) {
	db, err := openGORM(s)
	l := s.Subject.(*likes)
	return func(ctx context.Context, _ int) error {
		return db.WithContext(ctx).Clauses(clause.OnConflict{DoNothing: true}).Create(&like{PostID: 1, UserID: l.user()}).Error
	}, err
}
