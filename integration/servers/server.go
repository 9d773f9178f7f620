//go:build unix

package servers

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

// Server is a running server that this package started. Its methods are for the test that has it to itself: they may be
// called from any goroutine, but not at the same time.
type Server struct {
	Addr string // host:port, loopback
	DSN  string // for the driver; empty for Redis

	plan  plan
	ports []*portClaim
	dir   string
	as    *syscall.Credential
	argv  []string
	disk  *disk // nil is that of the machine

	mu      sync.Mutex
	process *process
	stopped bool
}

// plan says how to start a server of one kind.
type plan struct {
	name     string
	accounts []string       // to run as when root, the first that exists
	ports    int            // how many it needs; the first is Addr's
	signal   syscall.Signal // ends it and all that it started
	disk     int            // the megabytes of a disk of its own for its data; 0 is that of the machine

	// prepare is called once with an empty directory. It makes what must be there before the start and returns the
	// command line.
	prepare func(s *Server) (argv []string, err error)
	// ready returns the name and the version of the server, and no error when it answers.
	ready func(ctx context.Context, s *Server) (version string, err error)
}

// with returns the plan with options behind its own on the command line.
func (p plan) with(options []string) plan {
	prepare := p.prepare
	p.prepare = func(s *Server) ([]string, error) {
		argv, err := prepare(s)
		return append(argv, options...), err
	}
	return p
}

// start starts a server, on other ports if somebody took the first ones meanwhile.
func start(plan plan) (*Server, error) {
	var errs []error
	for range 3 {
		s, err := startOnce(plan)
		if err == nil {
			return s, nil
		}
		errs = append(errs, err)
		if errors.Is(err, exec.ErrNotFound) {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func startOnce(plan plan) (_ *Server, err error) {
	s := &Server{plan: plan}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.as, err = unprivileged(plan.accounts...); err != nil {
		return nil, err
	}
	if s.ports, err = claimPorts(plan.ports); err != nil {
		return nil, err
	}
	s.Addr = loopback(s.ports[0].number)
	if s.dir, err = tempDir(plan.name, s.as); err != nil {
		return nil, err
	}
	if s.argv, err = plan.prepare(s); err != nil {
		return nil, err
	}
	if plan.disk > 0 {
		if s.disk, err = newDisk(s.dir, plan.disk); err != nil {
			return nil, err
		}
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	running.add(s)
	return s, nil
}

// run starts the program and waits until it answers.
func (s *Server) run() (err error) {
	as, argv := s.as, s.argv
	if s.disk != nil {
		as, argv = s.disk.enter(as, argv)
	}
	s.process, err = startProcess(s.plan.name, s.dir, as, s.plan.signal, argv...)
	if err != nil {
		return err
	}
	var version string
	err = s.process.awaitReady(func(ctx context.Context) (err error) {
		version, err = s.plan.ready(ctx, s)
		return err
	})
	if err != nil {
		return err
	}
	return note(version)
}

// stop ends the server and removes what it wrote. A second call does nothing.
func (s *Server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	s.stopped = true
	running.remove(s)
	var errs []error
	if s.process != nil {
		errs = append(errs, s.process.kill(s.plan.signal))
	}
	if s.disk != nil {
		errs = append(errs, s.disk.close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	if s.process != nil {
		errs = append(errs, s.process.leash.Close())
	}
	releasePorts(s.ports)
	return errors.Join(errs...)
}

// Pause stops the server with SIGSTOP: it keeps its connections and accepts new ones, and answers nothing. Resume lets
// it go on, and so does the end of the test. PostgreSQL cannot be paused, since its sessions are processes of their own;
// use package faultproxy.
func (s *Server) Pause(tb testing.TB) {
	tb.Helper()
	if s.plan.signal == syscall.SIGQUIT {
		tb.Fatalf("servers: %s cannot be paused", s.plan.name)
	}
	s.send(tb, syscall.SIGSTOP)
	tb.Cleanup(func() { s.Resume(tb) })
}

// Resume lets a paused server go on. On one that is not paused it does nothing.
func (s *Server) Resume(tb testing.TB) {
	tb.Helper()
	s.send(tb, syscall.SIGCONT)
}

func (s *Server) send(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	if err := s.process.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Fatalf("servers: %s: %v", s.plan.name, err)
	}
}

// Kill ends the server at once, as a crash of the program would, and returns when it is gone. Its port refuses
// connections until Restart.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.process.kill(s.plan.signal); err != nil {
		tb.Fatal(err)
	}
}

// Restart starts the server again on the same port, after Kill or instead of it, and returns when it answers. An SQL
// server has what it acknowledged before; Redis comes back empty.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Kill(tb)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		tb.Fatalf("servers: %s was stopped at the end of its test", s.plan.name)
	}
	if err := s.process.release(); err != nil {
		tb.Fatal(err)
	}
	if err := s.run(); err != nil {
		tb.Fatal(err)
	}
}

// running are the servers that have not been stopped.
var running = runningServers{all: map[*Server]bool{}}

type runningServers struct {
	mu  sync.Mutex
	all map[*Server]bool
}

func (r *runningServers) add(s *Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[s] = true
}

func (r *runningServers) remove(s *Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, s)
}

func (r *runningServers) stopAll() error {
	r.mu.Lock()
	servers := make([]*Server, 0, len(r.all))
	for s := range r.all {
		servers = append(servers, s)
	}
	r.mu.Unlock()
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.stop())
	}
	return errors.Join(errs...)
}

// own starts a server for one test.
func own(tb testing.TB, start func() (*Server, error)) *Server {
	tb.Helper()
	s, err := start()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}
