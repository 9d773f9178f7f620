//go:build unix

package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// leash starts a server and a watchdog beside it, which holds the reading end of a pipe. The test binary holds the
// writing end, so the watchdog reads the end of file when the binary dies, from whatever cause. Then it ends the server
// with the signal $1, with SIGKILL if that does not help, and removes the directory $2. A first line in the pipe says
// that the server has ended already, so that its process id may belong to somebody else; a second one, that the directory
// is still needed.
//
// The prctl PR_SET_PDEATHSIG would look simpler. It fires when the thread that forked the server ends, which the Go
// runtime decides, and it leaves the directory behind.
//
// The watchdog is started by a shell that ends at once, so that it is no child of the server, and the server takes the
// place of the outer shell, so that its process id is the one that the test binary knows.
const leash = `
signal=$1 dir=$2; shift 2
( (
	trap '' HUP INT QUIT TERM
	if ! read -r ended <&3; then
		kill -s "$signal" $$
		for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			kill -s 0 $$ || break
			sleep 0.1
		done
		kill -s KILL $$
	fi 2>/dev/null
	read -r keep <&3 || rm -rf "$dir"
) & )
exec "$@" 3<&-
`

// process is a running server program.
type process struct {
	name   string
	dir    string         // everything that it writes; removed at the end
	signal syscall.Signal // ends it, with what it started
	cmd    *exec.Cmd
	leash  *os.File
	exited chan struct{} // closed when the program has ended and was waited for
}

// startProcess runs a program on a leash, in dir. Its output goes to a log there.
func startProcess(name, dir string, as *syscall.Credential, signal syscall.Signal, argv ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	held, leashed, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer held.Close()

	cmd := command(dir, as, "/bin/sh", append([]string{"-c", leash, "sh", signalName(signal), dir}, argv...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{held} // descriptor 3
	if err := cmd.Start(); err != nil {
		leashed.Close()
		return nil, fmt.Errorf("servers: start %s: %w", name, err)
	}
	p := &process{name: name, dir: dir, signal: signal, cmd: cmd, leash: leashed, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		_, _ = p.leash.WriteString("ended\n")
		close(p.exited)
	}()
	return p, nil
}

// command is exec.Command for a program that runs in dir, as another user if as is not nil, with an environment that
// the developer's own settings do not reach, and in a process group of its own, so that ^C at the terminal reaches the
// test binary only.
func command(dir string, as *syscall.Credential, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin", "HOME=" + dir, "TMPDIR=" + dir, "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
	return cmd
}

// run runs a program to its end, as command does.
func run(dir string, as *syscall.Credential, program string, args ...string) error {
	if out, err := command(dir, as, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("servers: %s %s: %w\n%s", program, strings.Join(args, " "), err, out)
	}
	return nil
}

// awaitReady calls ready until it returns nil. It gives up when the program ends, and after a minute.
func (p *process) awaitReady(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, 5*time.Second)
		err := ready(attempt)
		done()
		select {
		case <-p.exited:
			return fmt.Errorf("servers: %s ended at once (%s)\n%s", p.name, p.cmd.ProcessState, p.logTail())
		default:
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("servers: %s is not ready after a minute: %w\n%s", p.name, err, p.logTail())
		case <-p.exited:
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kill ends the program and returns when it is gone. The directory stays.
func (p *process) kill(signal syscall.Signal) error {
	select {
	case <-p.exited:
		return nil
	default:
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("servers: kill %s: %w", p.name, err)
	}
	select {
	case <-p.exited:
		return nil
	case <-time.After(10 * time.Second):
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	return nil
}

// release ends the watchdog of a program that has ended, and keeps the directory.
func (p *process) release() error {
	_, err := p.leash.WriteString("keep\n")
	return errors.Join(err, p.leash.Close())
}

// logTail returns the last lines that the program wrote.
func (p *process) logTail() []byte {
	const most = 4 << 10
	log, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(log[max(0, len(log)-most):])
}

func signalName(s syscall.Signal) string {
	if s == syscall.SIGQUIT {
		return "QUIT"
	}
	return "KILL"
}
