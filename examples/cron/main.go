// Command cron runs a job once per tick, however many replicas of the service there are:
//
//	go run -C examples ./cron
//	go run -C examples ./cron -redis host:6379 -replicas 5 -ticks 3
//
// Without -redis it starts a Redis in the process, and its database is a temporary SQLite file, so there is nothing to
// install. To copy: runOnce.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/distlock"
)

func main() {
	addrs := flag.String("redis", "", "addresses of one, three or five independent Redis servers, separated by commas")
	replicas := flag.Int("replicas", 3, "how many replicas of the service there are")
	ticks := flag.Int("ticks", 5, "how many times the job is due")
	every := flag.Duration("every", 300*time.Millisecond, "how often it is due")
	flag.Parse()
	if err := run(os.Stdout, *addrs, *replicas, *ticks, *every); err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
}

// replica is one instance of the service. Each has its own clients and its own pool of connections.
type replica struct {
	name  string
	db    *sql.DB
	locks *distlock.Locker
	fence *distlock.Fence
}

var errDone = errors.New("somebody has run it")

// runOnce runs the job that is due at the given tick, unless another replica does or has done so. The lock keeps the
// replicas from doing the work twice. The table of runs remembers what is done, and the fence keeps a replica that was
// paused in the middle, and has lost the lock since, from writing its result over a newer one.
func (r *replica) runOnce(ctx context.Context, tick int, job func(ctx context.Context) (result string, err error)) error {
	lease, err := r.locks.TryLock(ctx, "report")
	if err != nil {
		return err
	}
	defer lease.Unlock(ctx)
	ctx = lease.Context()

	token, err := r.fence.Mint(ctx, lease)
	if err != nil {
		return err
	}
	var done bool
	if err := r.db.QueryRowContext(ctx, "SELECT count(*) > 0 FROM runs WHERE tick = ?", tick).Scan(&done); err != nil {
		return err
	}
	if done {
		return errDone
	}
	result, err := job(ctx)
	if err != nil {
		return err
	}
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := r.fence.Guard(ctx, tx, token); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO runs (tick, replica, result) VALUES (?, ?, ?)", tick, r.name, result); err != nil {
		return err
	}
	return tx.Commit()
}

func run(out io.Writer, redisAddrs string, replicas, ticks int, every time.Duration) error {
	if redisAddrs == "" {
		server := miniredis.NewMiniRedis()
		if err := server.Start(); err != nil {
			return err
		}
		defer server.Close()
		redisAddrs = server.Addr()
	}
	dir, err := os.MkdirTemp("", "cron")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	var all []*replica
	for i := range replicas {
		r, stop, err := newReplica(fmt.Sprint("replica-", i+1), strings.Split(redisAddrs, ","), filepath.Join(dir, "cron.db"))
		if err != nil {
			return err
		}
		defer stop()
		all = append(all, r)
	}

	var mu sync.Mutex
	ran := make([]int, ticks)
	start := time.Now()
	var wg sync.WaitGroup
	for _, r := range all {
		wg.Go(func() {
			for tick := range ticks {
				time.Sleep(time.Until(start.Add(time.Duration(tick) * every)))
				err := r.runOnce(context.Background(), tick, func(context.Context) (string, error) {
					mu.Lock()
					defer mu.Unlock()
					ran[tick]++
					return "sent", nil
				})
				mu.Lock()
				switch {
				case err == nil:
					fmt.Fprintf(out, "tick %d: %s ran the job\n", tick, r.name)
				case !errors.Is(err, distlock.ErrNotAcquired) && !errors.Is(err, errDone):
					fmt.Fprintf(out, "tick %d: %s failed: %v\n", tick, r.name, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for tick, n := range ran {
		if n != 1 {
			return fmt.Errorf("the job of tick %d ran %d times", tick, n)
		}
	}
	fmt.Fprintf(out, "%d replicas, %d ticks: each job ran once\n", replicas, ticks)
	return nil
}

func newReplica(name string, redisAddrs []string, file string) (r *replica, stop func(), err error) {
	var clients []redis.UniversalClient
	for _, addr := range redisAddrs {
		clients = append(clients, redis.NewClient(&redis.Options{Addr: addr}))
	}
	closeClients := func() {
		for _, c := range clients {
			c.Close()
		}
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		closeClients()
		return nil, nil, err
	}
	stop = func() {
		db.Close()
		closeClients()
	}
	locks, err := distlock.New(clients)
	if err != nil {
		stop()
		return nil, nil, err
	}
	stop = func() {
		locks.Close()
		db.Close()
		closeClients()
	}
	fence, err := distlock.NewFence(db, "lock_fences")
	if err == nil {
		_, err = db.Exec(fence.Schema(nogap.SQLite))
	}
	if err == nil {
		_, err = db.Exec("CREATE TABLE IF NOT EXISTS runs (tick INTEGER PRIMARY KEY, replica TEXT, result TEXT)")
	}
	if err != nil {
		stop()
		return nil, nil, err
	}
	return &replica{name, db, locks, fence}, stop, nil
}
