//go:build unix

package servers

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package, from its TestMain. Afterwards it stops the servers that they started, and fails the
// package if the tests left goroutines behind that opts do not excuse. It does not return.
func Main(m *testing.M, opts ...goleak.Option) {
	code := m.Run()
	if err := running.stopAll(); err != nil {
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
