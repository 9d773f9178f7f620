//go:build unix

package scenarios

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
)

// riverJobs are River's own table of jobs, in its own database schema.
type riverJobs struct {
	exec riverdriver.Executor
}

func newRiverJobs() contest.Subject { return &riverJobs{} }

func (r *riverJobs) Setup(ctx context.Context, s *contest.Stage) error {
	config, err := pgxpool.ParseConfig(s.DSN)
	if err != nil {
		return err
	}
	config.MaxConns = int32(s.Conns)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	s.Cleanup(func() error { pool.Close(); return nil })
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	r.exec = driver.GetExecutor()
	return nil
}

func (r *riverJobs) Before(ctx context.Context, s *contest.Stage) error {
	if err := execAll(ctx, s.DB, "TRUNCATE river_job"); err != nil {
		return err
	}
	const atOnce = 5000
	for left := s.Rows; left > 0; left -= atOnce {
		params := make([]*riverdriver.JobInsertFastParams, min(left, atOnce))
		for i := range params {
			params[i] = &riverdriver.JobInsertFastParams{EncodedArgs: []byte("{}"), Kind: "bench", MaxAttempts: 1, Metadata: []byte("{}"),
				Priority: 1, Queue: "default", State: rivertype.JobStateAvailable, Tags: []string{}}
		}
		if _, err := r.exec.JobInsertFastManyNoReturning(ctx, &riverdriver.JobInsertFastManyParams{Jobs: params}); err != nil {
			return err
		}
	}
	return nil
}

func (r *riverJobs) After(ctx context.Context, s *contest.Stage, acknowledged, failed int64) (contest.Wrong, error) {
	var done int64
	err := s.DB.QueryRowContext(ctx, "SELECT count(*) FROM river_job WHERE state = 'completed'").Scan(&done)
	return contest.Compared(done, acknowledged, failed), err
}

// riverClaim claims one job with River's own statement, and completes it with its own. A River client does both for many
// jobs at a time.
func riverClaim(_ context.Context, s *contest.Stage) (contest.Call, error) {
	exec := s.Subject.(*riverJobs).exec
	return func(ctx context.Context, _ int) error {
		claimed, err := exec.JobGetAvailable(ctx, &riverdriver.JobGetAvailableParams{
			ClientID: "bench", MaxAttemptedBy: 1, MaxToLock: 1, ProducerID: 1, Queue: "default",
		})
		if err != nil {
			return err
		}
		if len(claimed.Jobs) == 0 {
			return contest.ErrNothingLeft
		}
		one := riverdriver.JobSetStateCompleted(claimed.Jobs[0].ID, time.Now(), nil)
		_, err = exec.JobSetStateIfRunningMany(ctx, &riverdriver.JobSetStateIfRunningManyParams{
			ID: []int64{one.ID}, Attempt: []*int{nil}, ErrData: [][]byte{nil}, FinalizedAt: []*time.Time{one.FinalizedAt},
			MetadataDoMerge: []bool{false}, MetadataUpdates: [][]byte{nil}, ScheduledAt: []*time.Time{nil},
			State: []rivertype.JobState{one.State},
		})
		return err
	}, nil
}
