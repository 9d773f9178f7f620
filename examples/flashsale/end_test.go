//go:build unix

package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A process is the program, with a directory for temporary files of its own.
type process struct {
	*exec.Cmd
	dir            string
	stdout, stderr *bufio.Reader
	close          func() error // the end of stdout
}

func startProcess(t *testing.T, args ...string) process {
	t.Helper()
	p := process{Cmd: exec.CommandContext(t.Context(), os.Args[0], args...), dir: t.TempDir()}
	p.Env = append(os.Environ(), asProgram+"=1", "TMPDIR="+p.dir)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	errors, err := p.StderrPipe()
	require.NoError(t, err)
	p.stdout, p.stderr, p.close = bufio.NewReader(out), bufio.NewReader(errors), out.Close
	require.NoError(t, p.Start())
	return p
}

// end waits for the process and returns its exit status and the rest of what it has said.
func (p process) end(t *testing.T) (status int, said string) {
	t.Helper()
	rest, err := io.ReadAll(p.stderr)
	require.NoError(t, err)
	err = p.Wait()
	var exit *exec.ExitError
	require.True(t, err == nil || errors.As(err, &exit), err)
	return p.ProcessState.ExitCode(), string(rest)
}

func requireEmpty(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files, "temporary files are left behind")
}

// However often it is told to, the program ends with the status of the first signal and takes its files with it.
func TestSignals(t *testing.T) {
	type ending struct {
		signals []os.Signal
		status  int
	}
	endings := map[string]ending{
		"SIGINT":              {[]os.Signal{syscall.SIGINT}, 130},
		"SIGTERM":             {[]os.Signal{syscall.SIGTERM}, 143},
		"SIGINT, impatiently": {[]os.Signal{syscall.SIGINT, syscall.SIGTERM}, 130},
	}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup, where the program ignores it too
		endings["SIGHUP"] = ending{[]os.Signal{syscall.SIGHUP}, 129}
	}
	for name, test := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reports := filepath.Join(t.TempDir(), "reports")
			require.NoError(t, os.Mkdir(reports, 0o700))
			p := startProcess(t, "-json", "-strategy", "unsafe,atomic", "-html", filepath.Join(reports, "report.html"))
			line, err := p.stderr.ReadString('\n')
			require.NoError(t, err)
			require.Equal(t, "stock, turn 1 of 3: unsafe\n", line)
			for i, s := range test.signals {
				if err := p.Process.Signal(s); i == 0 {
					require.NoError(t, err)
				}
			}
			status, said := p.end(t)
			if len(test.signals) == 1 {
				require.Equal(t, "flashsale: interrupted\n", said)
			}
			require.Equal(t, test.status, status, said)
			requireEmpty(t, p.dir)
			requireEmpty(t, reports)
		})
	}
}

// The reader of the table has seen enough, as head has.
func TestClosedPipe(t *testing.T) {
	p := startProcess(t, "-rounds", "1", "-buyers", "20", "-stock", "4")
	line, err := p.stdout.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, `20 buyers press "buy" at once. 4 pieces are in stock.`+"\n", line)
	require.NoError(t, p.close())
	status, said := p.end(t)
	require.Equal(t, 141, status, said)
	require.Empty(t, said)
	requireEmpty(t, p.dir)
}

// What SQLite says does not name its file, which is what one needs to know.
func TestErrorsOfSQLiteNameTheFile(t *testing.T) {
	var stdout, stderr strings.Builder
	path := filepath.Join(t.TempDir(), "shop.db")
	require.Equal(t, 1, run(t.Context(), []string{"-db", "sqlite:" + path + "?_pragma=query_only(1)"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), "readonly database (8); the database is "+path+"\n")

	stdout.Reset()
	stderr.Reset()
	t.Setenv("TMPDIR", filepath.Join(path, "nowhere"))
	require.Equal(t, 1, run(t.Context(), []string{"-json"}, &stdout, &stderr))
	require.Contains(t, stderr.String(), filepath.Join(path, "nowhere"))
	require.Contains(t, stderr.String(), "; set TMPDIR to another one, or name a database with -db\n")
	require.Empty(t, stdout.String())
}
