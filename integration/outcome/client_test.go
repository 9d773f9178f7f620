//go:build unix

package outcome_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
)

// The test binary plays another process that makes calls if roleVariable is set.
const (
	roleVariable    = "NOGAP_TEST_ROLE"
	driverVariable  = "NOGAP_TEST_DRIVER"
	dsnVariable     = "NOGAP_TEST_DSN"
	dialectVariable = "NOGAP_TEST_DIALECT"
	fromVariable    = "NOGAP_TEST_FROM"
	toVariable      = "NOGAP_TEST_TO"
)

// told is what the other process tells of a call: first that it begins, then what came of it.
type told struct {
	ID, Caller     int
	Returned       bool
	Refused, Error string
}

// child is the main function of that other process. It returns the exit status.
func child() int {
	go func() { // it dies with its parent, which holds the other end
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	if err := makeCalls(); err != nil {
		fmt.Fprintln(os.Stderr, "the other process:", err)
		return 1
	}
	return 0
}

// makeCalls makes the calls with the numbers that the environment names.
func makeCalls() error {
	dialect, err1 := strconv.Atoi(os.Getenv(dialectVariable))
	from, err2 := strconv.Atoi(os.Getenv(fromVariable))
	to, err3 := strconv.Atoi(os.Getenv(toVariable))
	db, err4 := sql.Open(os.Getenv(driverVariable), os.Getenv(dsnVariable))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	calls, err := newCalls(nogap.Dialect(dialect), db)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	tell := func(t told) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(t)
	}
	var next atomic.Int64
	next.Store(int64(from))
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for id := int(next.Add(1)) - 1; id < to; id = int(next.Add(1)) - 1 {
				c := calls[id%len(calls)]
				var callers sync.WaitGroup
				for caller := range max(1, c.callers) {
					tell(told{ID: id, Caller: caller})
					callers.Go(func() {
						r := told{ID: id, Caller: caller, Returned: true}
						switch err := c.do(context.Background(), id, caller); {
						case errors.Is(err, nogap.ErrOutcomeUnknown):
							r.Error = err.Error()
						case err != nil:
							r.Refused = err.Error()
						}
						tell(r)
					})
				}
				callers.Wait()
			}
		})
	}
	all.Wait()
	return nil
}

// A process that makes calls is killed in the midst of them, and others go on. Whatever it held is free then: the calls of the
// others end, and so does a write to each row.
func TestClientIsKilled(t *testing.T) {
	each(t, matrix.All(), func(t *testing.T, target matrix.Target) {
		const processes = 2
		share := inLong(2, 10) * len(newStormCalls(t)) // of one process
		s := newStorm(t, target, "client killed", inLong(4, 200)*share)
		concurrent.Run(t, processes, func(i int) error {
			rng := s.rng(i)
			for {
				to := int(s.next.Add(int64(share)))
				if to > s.ids {
					return nil
				}
				results, killed, err := killedProcess(t, s, to-share, to, rng)
				if err != nil {
					return err
				}
				s.struck(s.fault, count(killed))
				s.mu.Lock()
				s.results = append(s.results, results...)
				s.mu.Unlock()
			}
		})
		require.Positive(t, s.faults[s.fault])
		_, err := s.direct.ExecContext(concurrent.Within(t, patience), "UPDATE items SET stock = stock + 0")
		require.NoError(t, err)
		s.audit(t)
	})
}

// newStormCalls returns the calls, to count them.
func newStormCalls(t *testing.T) []call {
	t.Helper()
	db, err := sql.Open("pgx", "")
	require.NoError(t, err)
	defer db.Close()
	calls, err := newCalls(nogap.Postgres, db)
	require.NoError(t, err)
	return calls
}

var errKilled = fmt.Errorf("%w: the process that made the call was killed", nogap.ErrOutcomeUnknown)

// killedProcess has another process make some of the calls, kills it at a random one, and returns what it was told until then.
func killedProcess(t *testing.T, s *storm, from, to int, rng *rand.Rand) (results []result, killed bool, err error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=calls", driverVariable+"="+s.Driver, dsnVariable+"="+s.dsn,
		dialectVariable+"="+strconv.Itoa(int(s.Dialect)), fromVariable+"="+strconv.Itoa(from), toVariable+"="+strconv.Itoa(to))
	cmd.Stderr = os.Stderr
	out, err1 := cmd.StdoutPipe()
	_, err2 := cmd.StdinPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		return nil, false, err
	}
	begun := map[told]bool{}
	lines, at := 0, 1+rng.IntN(to-from)
	var kill *time.Timer
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		var what told
		if json.Unmarshal(scanner.Bytes(), &what) != nil {
			continue // cut off
		}
		if lines++; lines == at {
			kill = time.AfterFunc(upTo(rng, 3*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
		if key := (told{ID: what.ID, Caller: what.Caller}); !what.Returned {
			begun[key] = true
			continue
		} else {
			delete(begun, key)
		}
		r := result{call: s.calls[what.ID%len(s.calls)], id: what.ID, caller: what.Caller, fault: s.fault}
		switch {
		case what.Error != "":
			r.err = fmt.Errorf("%w: %s", nogap.ErrOutcomeUnknown, what.Error)
		case what.Refused != "":
			r.err = errors.New(what.Refused)
		}
		results = append(results, r)
	}
	if kill != nil {
		kill.Stop()
	}
	_ = cmd.Wait() // killed
	for key := range begun {
		results = append(results, result{call: s.calls[key.ID%len(s.calls)], id: key.ID, caller: key.Caller, fault: s.fault, err: errKilled})
	}
	if lines == 0 {
		return nil, false, errors.New("the other process made no call")
	}
	return results, !cmd.ProcessState.Exited(), nil
}
