package main

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/nogap-go/nogap/pessimistic"
)

// schema works on PostgreSQL, MySQL, MariaDB and SQLite. The index has the jobs in the order in which they are claimed,
// which MySQL and MariaDB need so as not to lock the whole queue.
var schema = []string{
	`CREATE TABLE jobs (
		id       bigint       PRIMARY KEY,
		address  varchar(200) NOT NULL,
		due      bigint       NOT NULL, -- not before, in milliseconds since 1970
		failures int          NOT NULL DEFAULT 0,
		error    varchar(500),          -- the last one
		done     int          NOT NULL DEFAULT 0
	)`,
	`CREATE INDEX jobs_due ON jobs (done, due)`,
}

type job struct {
	ID       int64  `db:"id"`
	Address  string `db:"address"`
	Failures int    `db:"failures"`
}

// worker takes jobs from the table and does them. Any number of workers, in any number of processes, share the work.
type worker struct {
	db    *sql.DB
	bind  int           // sqlx's number for the placeholders of the database
	batch int           // jobs to take at a time
	idle  time.Duration // how long to wait when there is nothing to do
	retry time.Duration // how long to wait before a job that failed is tried again; doubled with each failure

	// do does a job. The job is locked until its batch is done. If the program dies in between, do is called again for the
	// whole batch, by another worker: a letter may be sent twice, so it should carry the job's ID.
	do func(ctx context.Context, j *job) error
}

// work works until ctx ends, or the database fails.
func (w worker) work(ctx context.Context) error {
	for {
		err := w.next(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // what was in hand has been given back
		case errors.Is(err, sql.ErrNoRows):
			select {
			case <-time.After(w.idle):
			case <-ctx.Done():
			}
		case err != nil:
			return err
		}
	}
}

// next does the jobs that are due and that no other worker has. If there are none it returns sql.ErrNoRows.
func (w worker) next(ctx context.Context) error {
	due := pessimistic.Queue{
		Table:   "jobs",
		Where:   sqlx.Rebind(w.bind, "done = 0 AND due <= ?"),
		Args:    []any{time.Now().UnixMilli()},
		OrderBy: "due",
		Limit:   w.batch,
	}
	return pessimistic.Claim(ctx, w.db, due, func(ctx context.Context, tx *sqlx.Tx, jobs []*job) error {
		for _, j := range jobs {
			if err := w.one(ctx, tx, j); err != nil {
				return err
			}
		}
		return nil
	})
}

// one does a job and notes what came of it. A job that fails is no error: the others of the batch go on.
func (w worker) one(ctx context.Context, tx *sqlx.Tx, j *job) error {
	failure := w.do(ctx, j)
	if err := ctx.Err(); err != nil {
		return err
	}
	if failure == nil {
		_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE jobs SET done = 1 WHERE id = ?"), j.ID)
		return err
	}
	again := time.Now().Add(w.retry << min(j.Failures, 10))
	_, err := tx.ExecContext(ctx, tx.Rebind("UPDATE jobs SET failures = failures + 1, due = ?, error = ? WHERE id = ?"),
		again.UnixMilli(), failure.Error(), j.ID)
	return err
}
