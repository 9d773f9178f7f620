//go:build unix

package servers

import (
	"os"
	"strings"
	"sync"
	"testing"
)

// shared is a server, or the nodes of a cluster, that all tests of a test binary use: yours by the environment, or
// started by the first who asks.
type shared struct {
	variable string // its DSNs, separated by spaces
	plan     plan   // of one of them
	start    func() ([]*Server, error)

	mu      sync.Mutex
	started bool
	servers []*Server
	err     error
}

// one shares a server that a plan starts.
func one(variable string, plan plan) *shared {
	return &shared{variable: variable, plan: plan, start: func() ([]*Server, error) {
		s, err := start(plan)
		return []*Server{s}, err
	}}
}

// dsn returns the DSN of the only server.
func (s *shared) dsn(tb testing.TB) string {
	tb.Helper()
	if dsn := os.Getenv(s.variable); dsn != "" { // whatever is in it
		noteYours(s.plan, &Server{DSN: dsn})
		return dsn
	}
	return s.dsns(tb)[0]
}

// dsns returns the DSN of each node.
func (s *shared) dsns(tb testing.TB) []string {
	tb.Helper()
	if dsns := strings.Fields(os.Getenv(s.variable)); len(dsns) > 0 {
		noteYours(s.plan, &Server{DSN: dsns[0]})
		return dsns
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.started {
		s.started = true
		s.servers, s.err = s.start()
	}
	if s.err != nil {
		tb.Fatal(s.err)
	}
	return s.running()
}

func (s *shared) running() (dsns []string) {
	for _, server := range s.servers {
		dsns = append(dsns, server.DSN)
	}
	return dsns
}

// Shared returns the variables of an environment in which another test binary uses the SQL servers that the tests of this
// one share and that run already.
func Shared() (environment []string) {
	for _, s := range []*shared{sharedPostgres, sharedMariaDB, sharedMySQL, sharedGalera, sharedGroup} {
		s.mu.Lock()
		if s.started && s.err == nil {
			environment = append(environment, s.variable+"="+strings.Join(s.running(), " "))
		}
		s.mu.Unlock()
	}
	return environment
}
