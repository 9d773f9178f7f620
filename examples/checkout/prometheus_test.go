//go:build unix

package main

import (
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// runPrometheus runs one, on a port that was free a moment ago, until the test ends. ended is closed when it is over.
func runPrometheus(t *testing.T, config, data string) (address string, ended <-chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = listener.Addr().String()
	require.NoError(t, listener.Close())
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+data,
		"--web.listen-address="+address, "--log.level=error")
	log := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(t, cmd.Start(), "scripts/test.sh installs the package prometheus of Debian")
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may be over
		<-over
		if t.Failed() {
			t.Log(log)
		}
	})
	return address, over
}
