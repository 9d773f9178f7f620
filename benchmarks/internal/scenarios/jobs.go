//go:build unix

package scenarios

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
	"github.com/nogap-go/nogap/pessimistic"
)

var claim = contest.Scenario{
	Name:       "claim",
	Task:       "Claim the next job of a queue that nobody else has, and mark it as done.",
	Places:     places.SQL,
	NewSubject: func() contest.Subject { return &jobs{} },
	Ways: []contest.Way{
		{Name: "pessimistic.Claim", Kind: contest.Nogap, Open: claimOne},
		{Name: "SKIP LOCKED", Kind: contest.ByHand, Open: skipLocked},
		{Name: "GORM SKIP LOCKED", Kind: contest.Rival, Open: gormSkipLocked, On: on(nogap.Postgres, nogap.MySQL, nogap.MariaDB)},
		{Name: "River claim", Kind: contest.Rival, Open: riverClaim, On: on(nogap.Postgres), NewSubject: newRiverJobs},
		{Name: "read, then write", Kind: contest.Naive, Open: readThenMark},
	},
}

// job is a row of the table jobs.
type job struct {
	ID   int64 `db:"id" gorm:"primaryKey"`
	Done int64 `db:"done"` // how often it was
}

// jobs are the Subject of which each call does one. Before each round Size.Rows of them wait.
type jobs struct{ last, done int64 }

func (*jobs) Setup(ctx context.Context, s *contest.Stage) error {
	return execAll(ctx, s.DB, "DROP TABLE IF EXISTS jobs",
		"CREATE TABLE jobs (id BIGINT PRIMARY KEY, done BIGINT NOT NULL)", "CREATE INDEX jobs_waiting ON jobs (done, id)")
}

func (j *jobs) Before(ctx context.Context, s *contest.Stage) error {
	var waiting int64
	if err := s.DB.QueryRowContext(ctx, "SELECT count(*) FROM jobs WHERE done = 0").Scan(&waiting); err != nil {
		return err
	}
	missing := int64(s.Rows) - waiting
	err := insertRange(ctx, s.DB, "jobs (id, done)", j.last+1, j.last+missing, func(id int64) string { return fmt.Sprintf("(%d, 0)", id) })
	if err != nil {
		return err
	}
	j.last += missing
	j.done, err = j.count(ctx, s)
	return err
}

func (j *jobs) After(ctx context.Context, s *contest.Stage, acknowledged, failed int64) (contest.Wrong, error) {
	done, err := j.count(ctx, s)
	return contest.Compared(done-j.done, acknowledged, failed), err
}

// count returns how many are done. A job that two workers have done counts once, and the second one's call is lost.
func (*jobs) count(ctx context.Context, s *contest.Stage) (n int64, err error) {
	return n, s.DB.QueryRowContext(ctx, "SELECT count(*) FROM jobs WHERE done > 0").Scan(&n)
}

func claimOne(_ context.Context, s *contest.Stage) (contest.Call, error) {
	queue := pessimistic.Queue{Table: "jobs", Where: "done = 0", OrderBy: "id", Limit: 1}
	mark := bind(s, "UPDATE jobs SET done = done + 1 WHERE id = ?")
	return func(ctx context.Context, _ int) error {
		err := pessimistic.Claim(ctx, s.DB, queue, func(ctx context.Context, tx *sqlx.Tx, claimed []*job) error {
			_, err := tx.ExecContext(ctx, mark, claimed[0].ID)
			return err
		})
		return orNothingLeft(err)
	}, nil
}

// skipLocked has READ COMMITTED, as Claim has it on MySQL and MariaDB. It is the default of the others.
func skipLocked(_ context.Context, s *contest.Stage) (contest.Call, error) {
	next := "SELECT id, done FROM jobs WHERE done = 0 ORDER BY id LIMIT 1"
	if s.Dialect != nogap.SQLite {
		next += " FOR UPDATE SKIP LOCKED"
	}
	mark := bind(s, "UPDATE jobs SET done = done + 1 WHERE id = ?")
	return func(ctx context.Context, _ int) error {
		err := inTx(ctx, s, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, func(tx nogap.Tx) error {
			var j job
			if err := tx.QueryRowContext(ctx, next).Scan(&j.ID, &j.Done); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, mark, j.ID)
			return err
		})
		return orNothingLeft(err)
	}, nil
}

func gormSkipLocked(_ context.Context, s *contest.Stage) (contest.Call, error) {
	db, err := openGORM(s)
	return func(ctx context.Context, _ int) error {
		err := db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			var j job
			locking := clause.Locking{Strength: "UPDATE", Options: "SKIP LOCKED"}
			if err := tx.Clauses(locking).Where("done = 0").Order("id").Take(&j).Error; err != nil {
				return err
			}
			return tx.Model(&j).Update("done", gorm.Expr("done + 1")).Error
		}, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		if errors.Is(err, gorm.ErrRecordNotFound) {
			return contest.ErrNothingLeft
		}
		return err
	}, err
}

// readThenMark does what others do too.
func readThenMark(_ context.Context, s *contest.Stage) (contest.Call, error) {
	mark := bind(s, "UPDATE jobs SET done = done + 1 WHERE id = ?")
	return func(ctx context.Context, _ int) error {
		var id int64
		if err := s.DB.QueryRowContext(ctx, "SELECT id FROM jobs WHERE done = 0 ORDER BY id LIMIT 1").Scan(&id); err != nil {
			return orNothingLeft(err)
		}
		_, err := s.DB.ExecContext(ctx, mark, id)
		return err
	}, nil
}

func orNothingLeft(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return contest.ErrNothingLeft
	}
	return err
}
