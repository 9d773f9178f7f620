//go:build unix

package servers_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/servers"
)

// victim is set in the test binary that TestNothingSurvivesTheTestBinary kills.
const victim = "NOGAP_TEST_VICTIM"

// A test binary that is killed takes its servers along, a paused one, a restarted one, one on a disk of its own and the sessions
// of PostgreSQL included, and leaves no directory behind.
func TestNothingSurvivesTheTestBinary(t *testing.T) {
	if os.Getenv(victim) != "" {
		beVictim(t)
	}
	self, err := os.Executable()
	require.NoError(t, err)
	tmp, err := os.MkdirTemp("", "nogap-victim-") // not t.TempDir, which other accounts cannot enter
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(tmp)) })
	require.NoError(t, os.Chmod(tmp, 0o777))

	binary := exec.Command(self, "-test.run=^"+t.Name()+"$")
	binary.Env = append(os.Environ(), victim+"=1", "TMPDIR="+tmp)
	stdout, err := binary.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, binary.Start())
	var addrs []string
	session := 0
	for lines := bufio.NewScanner(stdout); session == 0 && lines.Scan(); {
		t.Log(lines.Text())
		if addr, ok := strings.CutPrefix(lines.Text(), "addr "); ok {
			addrs = append(addrs, addr)
		} else if pid, ok := strings.CutPrefix(lines.Text(), "session "); ok {
			session, err = strconv.Atoi(pid)
			require.NoError(t, err)
		}
	}
	require.Len(t, addrs, 5+len(onDisk()))
	require.NoError(t, syscall.Kill(session, 0))
	require.NotEmpty(t, processesOf(t, tmp))
	require.NoError(t, binary.Process.Kill())
	require.Error(t, binary.Wait())

	require.Eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(tmp, "*"))
		require.NoError(t, err)
		return len(left) == 0 && len(processesOf(t, tmp)) == 0 && errors.Is(syscall.Kill(session, 0), syscall.ESRCH)
	}, time.Minute, 20*time.Millisecond)
	for _, addr := range addrs {
		claim, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue // the port is free, and another test binary has claimed it already
		}
		_, err = net.Dial("tcp", addr)
		require.Error(t, err)
		require.NoError(t, claim.Close())
	}
}

func beVictim(t *testing.T) {
	all := []*servers.Server{servers.StartPostgres(t), servers.StartMariaDB(t)}
	all = append(all, servers.StartRedis(t, 3)...)
	for _, start := range onDisk() {
		all = append(all, start(t))
	}
	paused, restarted := all[2], all[3]
	paused.Pause(t)
	restarted.Restart(t)
	for _, s := range all {
		fmt.Println("addr", s.Addr)
	}
	var session int
	db := open(t, "pgx", all[0].DSN)
	require.NoError(t, db.QueryRow("SELECT pg_backend_pid()").Scan(&session))
	fmt.Println("session", session)
	select {}
}

// onDisk returns what starts a server on a disk of its own, where there can be one.
func onDisk() (starts []func(*testing.T) *servers.Server) {
	if servers.CanMount() == nil {
		starts = append(starts, func(t *testing.T) *servers.Server { return servers.StartPostgresOnDisk(t, 24) })
	}
	return starts
}

// processesOf returns the command lines of the processes that mention a directory.
func processesOf(t *testing.T, dir string) (found []string) {
	t.Helper()
	out, err := exec.Command("ps", "-eo", "args").Output()
	require.NoError(t, err)
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, dir) {
			found = append(found, line)
		}
	}
	return found
}
