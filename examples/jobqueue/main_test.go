package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, ""))
	require.Equal(t, `reader-0@example.com, after 1 failures
reader-1@example.com, after 0 failures
reader-2@example.com, after 0 failures
reader-3@example.com, after 0 failures
reader-4@example.com, after 1 failures
reader-5@example.com, after 0 failures
reader-6@example.com, after 0 failures
reader-7@example.com, after 0 failures
reader-8@example.com, after 1 failures
reader-9@example.com, after 0 failures
`, out.String())
}

func open(t *testing.T) worker {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "jobs.db")+"?_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, statement := range append(schema, "INSERT INTO jobs (id, address, due) VALUES (1, 'ann', 5), (2, 'bob', 0)") {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	return worker{db: db, bind: sqlx.QUESTION, batch: 10, idle: time.Hour, retry: time.Hour}
}

// A worker that is told to stop in the middle of a batch gives all of it back, in the order in which it was due.
func TestStoppedWorkerGivesItsJobsBack(t *testing.T) {
	w := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.do = func(context.Context, *job) error { cancel(); return nil }
	require.NoError(t, w.work(ctx))

	var got []string
	w.do = func(_ context.Context, j *job) error { got = append(got, j.Address); return nil }
	require.NoError(t, w.next(t.Context()))
	require.Equal(t, []string{"bob", "ann"}, got)
	require.ErrorIs(t, w.next(t.Context()), sql.ErrNoRows)
}

// One job that fails is tried later, and keeps none of the others.
func TestFailedJob(t *testing.T) {
	w := open(t)
	w.do = func(_ context.Context, j *job) error {
		if j.Address == "bob" {
			return errors.New("moved")
		}
		return nil
	}
	require.NoError(t, w.next(t.Context()))
	require.ErrorIs(t, w.next(t.Context()), sql.ErrNoRows, "bob's letter is not due before an hour is over")
	var failures, open int
	var reason string
	require.NoError(t, w.db.QueryRow("SELECT failures, error FROM jobs WHERE address = 'bob'").Scan(&failures, &reason))
	require.Equal(t, 1, failures)
	require.Equal(t, "moved", reason)
	require.NoError(t, w.db.QueryRow("SELECT count(*) FROM jobs WHERE done = 0").Scan(&open))
	require.Equal(t, 1, open)
}
