//go:build unix

package servers

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

var exits struct {
	sync.Mutex
	funcs []func() error
}

// OnExit has Main call f after the tests, while the servers still run. An error of f fails the package.
func OnExit(f func() error) {
	exits.Lock()
	defer exits.Unlock()
	exits.funcs = append(exits.funcs, f)
}

// Main runs the tests of a package, from its TestMain. Afterwards it stops the servers that they started, and fails the
// package if the tests left goroutines behind that opts do not excuse. It does not return.
func Main(m *testing.M, opts ...goleak.Option) {
	code := m.Run()
	var errs []error
	for _, f := range exits.funcs {
		errs = append(errs, f())
	}
	if err := errors.Join(append(errs, running.stopAll())...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if code == 0 {
		if err := goleak.Find(opts...); err != nil {
			fmt.Fprintln(os.Stderr, "servers: the tests left goroutines behind:", err)
			code = 1
		}
	}
	os.Exit(code)
}
