//go:build unix

package servers

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// note adds a server to the file that NOGAP_SERVERS_RAN names, from which scripts/test.sh tells which versions ran.
func note(version string) error { return addLine("NOGAP_SERVERS_RAN", version) }

// Proven adds what a test has counted to the file that NOGAP_PROVEN names, which scripts/test.sh prints at its end.
func Proven(line string) error { return addLine("NOGAP_PROVEN", line) }

// addLine adds a line to the file that a variable names, if it does.
func addLine(variable, line string) error {
	name := os.Getenv(variable)
	if name == "" {
		return nil
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = fmt.Fprintln(file, line) // one write, so that the lines of several test binaries don't mix
	return err
}

var notedYours sync.Map

// noteYours notes a server that the environment names, once. If it does not answer, the test that asked for it will say
// so.
func noteYours(plan plan, s *Server) {
	if _, noted := notedYours.LoadOrStore(plan.name, true); noted {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if version, err := plan.ready(ctx, s); err == nil {
		_ = note(version + " (named in the environment)")
	}
}
