//go:build unix

package servers

import (
	"os"
	"sync"
	"testing"
)

// shared is a server that all tests of a test binary use, one of yours by the environment or started by the first who
// asks.
type shared struct {
	variable string
	plan     plan

	once   sync.Once
	server *Server
	err    error
}

// dsn returns the DSN of the server.
func (s *shared) dsn(tb testing.TB) string {
	tb.Helper()
	if dsn := os.Getenv(s.variable); dsn != "" {
		noteYours(s.plan, &Server{DSN: dsn})
		return dsn
	}
	s.once.Do(func() { s.server, s.err = start(s.plan) })
	if s.err != nil {
		tb.Fatal(s.err)
	}
	return s.server.DSN
}
