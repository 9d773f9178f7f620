//go:build unix

// Package expect marks tests that fail for a known reason, so that they run, and it shows when they pass:
//
//	if expect.Failure(t, "MySQL cuts the value to a signed integer") {
//		return
//	}
package expect

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nogap-go/nogap/integration/servers"
)

// marked is set in the test binary that runs a marked test: the file that has its name. The test adds a line to it.
const marked = "NOGAP_EXPECTED_FAILURE"

// attempts is how often a marked test is run at most until it fails: it may need a race to go wrong.
const attempts = 10

// patience is how long the attempts may take. A test that hangs fails.
const patience = 3 * time.Minute

// Failure marks the test that calls it first of all. It returns true when the caller must return. Another process of the
// test binary has then run the test: its failure, in one of ten attempts, is logged with the reason, which is one sentence,
// and if it passes every time it fails here, since the mark must go. In that other process Failure returns false.
//
// The other process uses the SQL servers that run already.
func Failure(t testing.TB, reason string) bool {
	t.Helper()
	if beMarked(t) {
		return false
	}
	file := filepath.Join(t.TempDir(), "marked")
	if err := os.WriteFile(file, []byte(t.Name()), 0o644); err != nil {
		t.Fatal(err)
	}
	out, failed := runMarked(t, file)
	if reached, err := os.ReadFile(file); err != nil || string(reached) == t.Name() {
		t.Fatalf("expect: the test was not run: %v\n%s", err, out)
	}
	if failed == nil {
		t.Errorf("expect: the test passes now: remove its mark (%s)", reason)
		return true
	}
	t.Logf("fails as expected: %s\n%s", reason, out)
	return true
}

// beMarked reports whether this process was started to run the test, and notes in the file that it does.
func beMarked(t testing.TB) bool {
	t.Helper()
	name := os.Getenv(marked)
	if name == "" {
		return false
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if test, _, _ := strings.Cut(string(text), "\n"); test != t.Name() {
		return false
	}
	if err := os.WriteFile(name, append(text, "\nreached"...), 0o644); err != nil {
		t.Fatal(err)
	}
	return true
}

// runMarked runs the test alone in another process. It returns the end of what it wrote, and an error if it failed.
func runMarked(t testing.TB, file string) (out []byte, failed error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-test.run="+exactly(t.Name()), "-test.failfast",
		fmt.Sprint("-test.count=", attempts), fmt.Sprint("-test.timeout=", patience))
	cmd.Env = append(append(os.Environ(), servers.Shared()...), marked+"="+file, "NOGAP_SERVERS_RAN=")
	out, failed = cmd.CombinedOutput()
	const most = 4 << 10
	return out[max(0, len(out)-most):], failed
}

// exactly returns the pattern for -test.run that matches one test.
func exactly(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}
