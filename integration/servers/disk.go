//go:build unix

package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// CanMount reports why the servers can't have a disk of their own here: that takes root with CAP_SYS_ADMIN, or a kernel that
// lets other users have user namespaces, and the programs unshare, nsenter and mount.
func CanMount() error {
	dir, err := os.MkdirTemp("", "nogap-mount-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	script := `mount -t tmpfs -o size=1m nogap "$1" && shift && exec "$@"`
	argv := append(namespace(), "/bin/sh", "-c", script, "sh", dir)
	argv = append(append(argv, plainUser()...), "true")
	if err := run(dir, nil, argv[0], argv[1:]...); err != nil {
		return fmt.Errorf("a server can't have a small disk of its own on this machine, which takes root with CAP_SYS_ADMIN or "+
			"unprivileged user namespaces, and util-linux: %w", err)
	}
	return nil
}

// StartPostgresOnDisk starts a PostgreSQL server for this test alone, as StartPostgres does, whose data are on a disk of its
// own. WAL segments have a megabyte each.
func StartPostgresOnDisk(tb testing.TB, megabytes int) *Server {
	tb.Helper()
	plan := postgresPlan
	plan.disk = megabytes
	plan.prepare = func(s *Server) ([]string, error) { return preparePostgres(s, "--wal-segsize=1") }
	options := []string{"-c", "min_wal_size=2MB", "-c", "max_wal_size=8MB"}
	return own(tb, func() (*Server, error) { return start(plan.with(options)) })
}

// StartMariaDBOnDisk starts a MariaDB server for this test alone, as StartMariaDB does, whose data are on a disk of its own.
func StartMariaDBOnDisk(tb testing.TB, megabytes int, options ...string) *Server {
	tb.Helper()
	plan := mariadbPlan
	plan.disk = megabytes
	return own(tb, func() (*Server, error) { return start(plan.with(options)) })
}

// StartMySQLOnDisk starts a MySQL server for this test alone, as StartMySQL does, whose data are on a disk of its own.
func StartMySQLOnDisk(tb testing.TB, megabytes int, options ...string) *Server {
	tb.Helper()
	plan := mysqlPlan
	plan.disk = megabytes
	return own(tb, func() (*Server, error) { return start(plan.with(options)) })
}

// FillDisk fills the disk of a server that was started on one of its own, to the last byte.
func (s *Server) FillDisk(tb testing.TB) {
	tb.Helper()
	if err := s.disk.tell("fill"); err != nil {
		tb.Fatal(err)
	}
}

// EmptyDisk takes away what FillDisk has put on the disk.
func (s *Server) EmptyDisk(tb testing.TB) {
	tb.Helper()
	if err := s.disk.tell("empty"); err != nil {
		tb.Fatal(err)
	}
}

// Ended reports whether the program has ended by itself, or was killed. Restart starts it again.
func (s *Server) Ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.process.exited:
		return true
	default:
		return false
	}
}

// disk is a small file system in memory for the data of a server. It is mounted in a mount namespace that only the server
// and the process which holds the namespace are in, so it is gone with them, and nobody else sees it.
type disk struct {
	holder *exec.Cmd
	orders io.WriteCloser
	done   *bufio.Scanner
}

// hold mounts the disk over the data directory, with what is there. Then it takes orders until the test binary has closed
// its standard input, or has died.
const hold = `
dir=$1 room=$2
there=$(du -sk --apparent-size "$dir/data" | cut -f 1) || exit
mount -t tmpfs -o "size=$((there + 1024 * room))k" nogap "$dir/disk" || exit
cp -a --sparse=never "$dir/data" "$dir/disk/data" || exit
mount --bind "$dir/disk/data" "$dir/data" || exit
echo mounted
while read -r order; do
	case $order in
	fill) cat /dev/zero >"$dir/disk/filler" 2>/dev/null ;;
	empty) rm -f "$dir/disk/filler" ;;
	esac
	echo "$order"
done
`

// newDisk mounts a disk over the data directory in dir.
func newDisk(dir string, megabytes int) (_ *disk, err error) {
	if err := os.Mkdir(filepath.Join(dir, "disk"), 0o755); err != nil {
		return nil, err
	}
	argv := append(namespace(), "/bin/sh", "-c", hold, "sh", dir, strconv.Itoa(megabytes))
	d := &disk{holder: command(dir, nil, argv[0], argv[1:]...)}
	var complaints strings.Builder
	d.holder.Stderr = &complaints
	d.holder.WaitDelay = 10 * time.Second
	if d.orders, err = d.holder.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := d.holder.StdoutPipe()
	if err != nil {
		return nil, err
	}
	d.done = bufio.NewScanner(out)
	if err := d.holder.Start(); err != nil {
		return nil, fmt.Errorf("servers: start %s: %w", argv[0], err)
	}
	if !d.done.Scan() || d.done.Text() != "mounted" {
		err := d.close()
		return nil, errors.Join(fmt.Errorf("servers: mount a disk: %s", complaints.String()), err)
	}
	return d, nil
}

// tell gives an order and waits until it is carried out.
func (d *disk) tell(order string) error {
	if _, err := io.WriteString(d.orders, order+"\n"); err != nil {
		return fmt.Errorf("servers: the disk: %w", err)
	}
	if !d.done.Scan() || d.done.Text() != order {
		return fmt.Errorf("servers: the disk did not answer to %s", order)
	}
	return nil
}

// enter returns the command line with which a program runs where the disk is, and the account to start that as.
func (d *disk) enter(as *syscall.Credential, argv []string) (*syscall.Credential, []string) {
	enter := []string{"nsenter", "--mount", "--target", strconv.Itoa(d.holder.Process.Pid)}
	if as != nil {
		enter = append(enter, "--setgid", fmt.Sprint(as.Gid), "--setuid", fmt.Sprint(as.Uid), "--")
		return nil, append(enter, argv...)
	}
	enter = append(enter, "--user", "--preserve-credentials", "--")
	return nil, append(append(enter, plainUser()...), argv...)
}

// close unmounts the disk, if the server has ended.
func (d *disk) close() error {
	err := d.orders.Close()
	var status *exec.ExitError
	if waited := d.holder.Wait(); !errors.As(waited, &status) {
		err = errors.Join(err, waited)
	}
	return err
}

// namespace returns the command that runs another one in a mount namespace of its own, in which it may mount.
func namespace() []string {
	if os.Geteuid() == 0 {
		return []string{"unshare", "--mount", "--"}
	}
	return []string{"unshare", "--user", "--map-root-user", "--mount", "--"}
}

// plainUser returns the command that runs another one as the current user, out of a namespace in which that user is root.
// Servers refuse to run as root.
func plainUser() []string {
	if os.Geteuid() == 0 {
		return nil
	}
	return []string{"unshare", "--user", fmt.Sprintf("--map-user=%d", os.Geteuid()), fmt.Sprintf("--map-group=%d", os.Getegid()), "--"}
}
