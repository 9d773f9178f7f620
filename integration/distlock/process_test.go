//go:build unix

package distlock_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/distlock"
	"github.com/nogap-go/nogap/integration/servers"
)

// The test binary plays another process if these variables are set.
const (
	roleVariable   = "NOGAP_TEST_ROLE"
	addrsVariable  = "NOGAP_TEST_ADDRS"
	prefixVariable = "NOGAP_TEST_PREFIX"
	dsnVariable    = "NOGAP_TEST_DSN"
	ttlVariable    = "NOGAP_TEST_TTL" // childTTL if it is not set
)

// child is the main function of that other process. It returns the exit status.
func child(role string) int {
	go func() { // it dies with its parent, which holds the other end
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	var clients []redis.UniversalClient
	for addr := range strings.SplitSeq(os.Getenv(addrsVariable), ",") {
		clients = append(clients, redis.NewClient(&redis.Options{Addr: addr}))
	}
	locks, err := distlock.New(clients, distlock.Prefix(os.Getenv(prefixVariable)), distlock.TTL(ttlOfChild()),
		distlock.NodeTimeout(ttlOfChild()/6))
	if err == nil {
		err = roles[role](locks)
	}
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	return 0
}

const childTTL = 1200 * time.Millisecond

func ttlOfChild() time.Duration {
	if ttl, err := time.ParseDuration(os.Getenv(ttlVariable)); err == nil {
		return ttl
	}
	return childTTL
}

var roles = map[string]func(*distlock.Locker) error{
	// hold takes the lock and keeps it. It looks all the time whether the process was stopped, and says how often after
	// it went on it looked before its context was cancelled. On one processor nothing else of the process can stand still
	// while it looks.
	"hold": func(locks *distlock.Locker) error {
		runtime.GOMAXPROCS(1)
		lease, err := locks.Lock(context.Background(), "a")
		if err != nil {
			return err
		}
		last := time.Now() // before the parent may stop us
		fmt.Println("held")
		for {
			now := time.Now()
			if now.Sub(last) > ttlOfChild() {
				break
			}
			last = now
			time.Sleep(time.Millisecond)
		}
		looks := 0
		for ; looks < 5000 && lease.Context().Err() == nil; looks++ {
			time.Sleep(time.Millisecond)
		}
		fmt.Println("cancelled", looks, context.Cause(lease.Context()))
		fmt.Println("unlock", lease.Unlock(context.Background()))
		return nil
	},
	"history":   recordHistory,
	"histories": recordHistories,
	"loop":      loop,
}

func firstAddr() string {
	first, _, _ := strings.Cut(os.Getenv(addrsVariable), ",")
	return first
}

func prefixOfChild() string { return os.Getenv(prefixVariable) }

// process is another process that uses the lock.
type process struct {
	*exec.Cmd
	out *bufio.Scanner
}

func start(t *testing.T, role string, addrs []string, prefix string, env ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role, addrsVariable+"="+strings.Join(addrs, ","), prefixVariable+"="+prefix)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	_, err = cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &process{cmd, bufio.NewScanner(out)}
}

func (p *process) line(t *testing.T) string {
	t.Helper()
	require.True(t, p.out.Scan(), "the process has ended")
	return p.out.Text()
}

// A process is stopped while it holds the lock, for longer than its TTL. Another one gets the lock meanwhile. When the
// first goes on, its context is cancelled at once and it can't touch the other's lock.
func TestStoppedHolder(t *testing.T) {
	each(t, func(t *testing.T, addrs []string) {
		clock, p := newCalm(t, addrs[0]), start(t, "hold", addrs, unique(t))
		require.Equal(t, "held", p.line(t))
		require.NoError(t, p.Process.Signal(syscall.SIGSTOP))
		stopped, began := time.Now(), clock.Now()

		locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
		lease, err := locks.Lock(t.Context(), "a")
		require.NoError(t, err)
		require.Less(t, clock.Now()-began, childTTL*4/3, "a dead holder costs at most its TTL")
		time.Sleep(max(0, childTTL+100*time.Millisecond-time.Since(stopped))) // let it sleep past its TTL in any case

		require.NoError(t, p.Process.Signal(syscall.SIGCONT))
		var after int
		var cause string
		line := p.line(t)
		_, err = fmt.Sscanf(line, "cancelled %d %s", &after, &cause)
		require.NoError(t, err, line)
		require.Contains(t, line, distlock.ErrLost.Error())
		require.LessOrEqual(t, after, 9, "milliseconds after it went on")
		require.Contains(t, p.line(t), "lease lost")

		require.NoError(t, lease.Context().Err())
		require.NoError(t, lease.Unlock(t.Context()), "still ours")
		requireNoKeys(t, unique(t), 5*time.Second, addrs...)
	})
}

// A process is killed while it holds the lock.
func TestKilledHolder(t *testing.T) {
	t.Parallel()
	const ttl = 4 * time.Second // on a busy machine it must not be lost while the process lives
	addrs := servers.Redis(t, 5)
	p := start(t, "hold", addrs, unique(t), ttlVariable+"="+ttl.String())
	require.Equal(t, "held", p.line(t))
	locks := newLocker(t, addrs, distlock.Prefix(unique(t)))
	ctx, cancel := context.WithTimeout(t.Context(), 2*ttl)
	defer cancel()
	_, err := locks.Lock(ctx, "a")
	require.ErrorIs(t, err, context.DeadlineExceeded, "it extends the lock as long as it lives")

	require.NoError(t, p.Process.Kill())
	clock := newCalm(t, addrs[0])
	lease, err := locks.Lock(t.Context(), "a")
	require.NoError(t, err)
	require.Less(t, clock.Now(), ttl*4/3)
	require.NoError(t, lease.Unlock(t.Context()))
	requireNoKeys(t, unique(t), 5*time.Second, addrs...)
}
