//go:build unix

package outcome_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/concurrent"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/integration/servers"
)

// The disk of a server is filled in the midst of calls. PostgreSQL refuses what needs a new page, and ends all sessions when it
// can't write its log. MariaDB and MySQL refuse, wait for room, or end. No call waits much longer than its context: there is no
// room again before all have returned. Then the same pools go on.
func TestServersDiskIsFull(t *testing.T) {
	t.Parallel()
	if err := servers.CanMount(); err != nil {
		require.False(t, long, "the long form fills the disks of servers: %v", err)
		line := fmt.Sprintf("outcome: NOT SHOWN: a full disk under PostgreSQL, MariaDB and MySQL: %v", err)
		t.Log(line)
		require.NoError(t, servers.Proven(line))
		return
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := servers.StartPostgresOnDisk(t, 24)
		var storms []*storm
		for _, target := range matrix.Postgres() {
			s := newDiskStorm(t, target, server, strings.ReplaceAll(target.Name, "/", "_"))
			storms = append(storms, s)
			execute(t, s.direct, "CREATE TABLE filler (text TEXT NOT NULL)")
			execute(t, s.direct, "ALTER TABLE filler ALTER text SET STORAGE PLAIN")
			execute(t, s.direct, `CREATE FUNCTION fill() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
				IF NEW.id % 4 < 2 THEN -- the first item of every other call
					INSERT INTO filler VALUES (repeat('x', 3000));
				ELSE
					PERFORM pg_logical_emit_message(true, 'fill', repeat('x', 100000)); -- to the log alone
				END IF;
				RETURN NULL;
			END $$`)
			execute(t, s.direct, "CREATE TRIGGER fill AFTER UPDATE ON items FOR EACH ROW EXECUTE FUNCTION fill()")
		}
		fillAndEmpty(t, server, storms, false)
	})
	innodb := func(name string, targets []matrix.Target, binlog bool, start func(*testing.T) *servers.Server) {
		if len(targets) == 0 {
			return
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			s := newDiskStorm(t, targets[0], server, "storm")
			execute(t, s.direct, "CREATE TABLE filler (id BIGINT PRIMARY KEY AUTO_INCREMENT, text LONGBLOB NOT NULL)")
			execute(t, s.direct, "CREATE TRIGGER fill AFTER UPDATE ON items FOR EACH ROW INSERT INTO filler (text) VALUES (REPEAT('x', 200000))")
			fillAndEmpty(t, server, []*storm{s}, binlog)
		})
	}
	innodb("mariadb", matrix.MariaDB(), false, func(t *testing.T) *servers.Server {
		return servers.StartMariaDBOnDisk(t, 64, "--innodb-log-file-size=8M")
	})
	innodb("mariadb with a binary log", matrix.MariaDB(), true, func(t *testing.T) *servers.Server {
		return servers.StartMariaDBOnDisk(t, 64, "--innodb-log-file-size=8M", "--log-bin")
	})
	innodb("mysql", matrix.MySQL(), true, func(t *testing.T) *servers.Server {
		return servers.StartMySQLOnDisk(t, 128, "--innodb-redo-log-capacity=8M")
	})
}

func newDiskStorm(t *testing.T, target matrix.Target, server *servers.Server, name string) *storm {
	t.Helper()
	return newStormAt(t, target, createDatabase(t, target, server, name), "server's disk full", inLong(*calls, *calls/10), newCalls)
}

// fillAndEmpty makes the calls of all storms at once, and meanwhile fills the disk of their server and makes room again, as often
// as there are calls left. A server that waits for room to write its binary log looks once a minute whether there is some, so
// an operator kills it: every other time, and in the short form the only one.
func fillAndEmpty(t *testing.T, server *servers.Server, storms []*storm, binlog bool) {
	t.Helper()
	clients := make([]*client, len(storms))
	for i, s := range storms {
		clients[i] = s.connect(t, s.dsn)
	}
	rng := storms[0].rng(-1)
	ended := 0
	for rounds := 0; storms[0].left() && (long || !binlog || rounds < 1); rounds++ {
		strike(t, storms, clients, (*storm).callWhileFull, func() {
			time.Sleep(upTo(rng, 20*time.Millisecond)) // the moment at which the fault strikes
			server.FillDisk(t)
		})
		if binlog && (!long || rng.IntN(2) == 0) {
			ended -= count(!server.Ended())
			server.Kill(t)
		}
		server.EmptyDisk(t)
		ended += storms[0].startEnded(t, server)
		if binlog {
			storms[0].findsRoom(t)
		}
		for i, s := range storms {
			s.struck(s.fault, 1)
			s.reach(t)
			s.goesOn(t, clients[i])
			if s.left() {
				s.tidyUp(t, binlog)
			}
		}
	}
	for i, s := range storms {
		refused := 0
		for _, r := range s.results {
			refused += count(r.fault == s.fault && r.err != nil)
		}
		require.Positive(t, refused, "the disk was full, and nothing has failed")
		t.Logf("%s has ended by itself %d times", s.Name, ended)
		s.audit(t, clients[i])
	}
}

// startEnded waits until the server answers, and starts it again whenever it has ended, and returns how often that was.
// PostgreSQL may still find out that it could not recover on the full disk.
func (s *storm) startEnded(t *testing.T, server *servers.Server) (ended int) {
	t.Helper()
	ctx := concurrent.Within(t, 2*patience)
	for {
		if server.Ended() {
			ended++
			server.Restart(t)
		}
		if s.direct.PingContext(ctx) == nil && !server.Ended() {
			return ended
		}
		require.NoError(t, ctx.Err(), "the server does not answer")
		time.Sleep(10 * time.Millisecond) // until it is asked again
	}
}

// findsRoom waits until the server has looked again whether there is room for its binary log. Before, nobody can commit.
func (s *storm) findsRoom(t *testing.T) {
	t.Helper()
	ctx := concurrent.Within(t, 2*patience)
	require.Eventually(t, func() bool {
		_, err := s.direct.ExecContext(ctx, "INSERT INTO filler (text) VALUES ('')")
		return err == nil
	}, 2*patience, 10*time.Millisecond)
}

// tidyUp makes room for the next round, or what the rounds leave behind would fill the disk for good.
func (s *storm) tidyUp(t *testing.T, binlog bool) {
	t.Helper()
	execute(t, s.direct, "TRUNCATE TABLE filler")
	if binlog {
		execute(t, s.direct, "FLUSH BINARY LOGS")
		execute(t, s.direct, "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY")
	}
}

// goesOn makes a call of each kind, with a pool as the fault has left it: each of its connections may have been cut, which costs
// one call.
func (s *storm) goesOn(t *testing.T, c *client) {
	t.Helper()
	ctx := concurrent.Within(t, 2*patience)
	var failed []error
	for range s.calls {
		if err, _ := s.call(ctx, c, "room again for a server"); err != nil {
			failed = append(failed, err)
		}
	}
	require.LessOrEqual(t, len(failed), 2*workers, errors.Join(failed...))
}

// callWhileFull makes calls until some have failed on a full disk.
func (s *storm) callWhileFull(t *testing.T, c *client, full <-chan struct{}) {
	for failed := 0; failed < inLong(1, 2); {
		s.saveFor(full)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err, ok := s.call(ctx, c, s.fault)
		cancel()
		if !ok {
			return
		}
		select {
		case <-full:
			failed += count(err != nil)
		default:
		}
	}
}
