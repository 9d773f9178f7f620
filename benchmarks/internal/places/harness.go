//go:build unix

package places

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// harness is what package integration/servers, which is written for tests, sees in place of a test. Its methods that end a
// test make run return an error.
type harness struct {
	testing.TB // for the methods that nobody calls

	mu       sync.Mutex
	cleanups []func()
	errs     []error
}

// failure is what Fatal panics with.
type failure struct{ error }

// run runs f and returns its error, or that of the call of Fatal that ended it.
func (t *harness) run(f func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.error
		default:
			panic(r)
		}
	}()
	return f()
}

func (t *harness) Helper() {}

func (t *harness) Fatal(args ...any) {
	if err, ok := args[0].(error); ok && len(args) == 1 {
		panic(failure{err}) // whose causes are looked at
	}
	panic(failure{errors.New(fmt.Sprint(args...))})
}

func (t *harness) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func (t *harness) Error(args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs = append(t.errs, errors.New(fmt.Sprint(args...)))
}

func (t *harness) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *harness) TempDir() string {
	dir, err := freshDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// close runs the cleanups, the last one first.
func (t *harness) close() error {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
	t.cleanups = nil
	return errors.Join(t.errs...)
}
