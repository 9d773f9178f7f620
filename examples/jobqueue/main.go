// Jobqueue sends letters: a table is the queue, and workers claim the next jobs of it without waiting for one another. A
// job that fails is tried again later; a worker that dies gives its jobs back. The worker is in queue.go, to be copied.
//
//	go run -C examples ./jobqueue                                # on an SQLite file that is removed at the end
//	go run -C examples ./jobqueue -db postgres://localhost/test  # makes, and at the end drops, the table jobs
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/jmoiron/sqlx"
	_ "modernc.org/sqlite" // the driver "sqlite", in pure Go
)

func main() {
	address := flag.String("db", "", "a PostgreSQL database, in place of an SQLite file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *address); err != nil {
		fmt.Fprintln(os.Stderr, "jobqueue:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, address string) (err error) {
	driver, bind := "pgx", sqlx.DOLLAR
	if address == "" {
		dir, err := os.MkdirTemp("", "jobqueue")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		driver, bind = "sqlite", sqlx.QUESTION
		address = "file:" + filepath.Join(dir, "jobs.db") + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)"
	}
	db, err := sql.Open(driver, address)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, statement := range schema {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	defer func() {
		_, dropped := db.ExecContext(context.WithoutCancel(ctx), "DROP TABLE jobs")
		err = errors.Join(err, dropped)
	}()
	return sendAll(ctx, out, db, bind)
}

// sendAll puts ten letters in the queue and lets three workers send them. The post office refuses some at first.
func sendAll(ctx context.Context, out io.Writer, db *sql.DB, bind int) error {
	const letters, workers = 10, 3
	insert := sqlx.Rebind(bind, "INSERT INTO jobs (id, address, due) VALUES (?, ?, ?)")
	for id := range letters {
		if _, err := db.ExecContext(ctx, insert, id, fmt.Sprintf("reader-%d@example.com", id), 0); err != nil {
			return err
		}
	}

	ctx, allSent := context.WithCancel(ctx)
	defer allSent()
	var mu sync.Mutex
	var sent []string
	send := func(_ context.Context, j *job) error {
		if j.ID%4 == 0 && j.Failures == 0 {
			return errors.New("the post office is closed")
		}
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, fmt.Sprintf("%s, after %d failures", j.Address, j.Failures))
		return nil
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			errs[i] = worker{db: db, bind: bind, batch: 2, idle: 10 * time.Millisecond, retry: 20 * time.Millisecond, do: send}.work(ctx)
		})
	}
	var err error
	for left := letters; left > 0 && err == nil; { // the workers would go on for ever
		time.Sleep(10 * time.Millisecond)
		err = db.QueryRowContext(ctx, "SELECT count(*) FROM jobs WHERE done = 0").Scan(&left)
	}
	allSent()
	wg.Wait()
	slices.Sort(sent)
	for _, line := range sent {
		fmt.Fprintln(out, line)
	}
	return errors.Join(err, errors.Join(errs...))
}
