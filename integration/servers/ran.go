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
func note(version string) error {
	name := os.Getenv("NOGAP_SERVERS_RAN")
	if name == "" {
		return nil
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = fmt.Fprintln(file, version) // one write, so that the lines of several test binaries don't mix
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
