//go:build unix

package expect_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/integration/expect"
	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func TestFailureIsExpected(t *testing.T) {
	for name, fail := range map[string]func(*testing.T){
		"error":          func(t *testing.T) { t.Error("wrong") },
		"fatal/and more": func(t *testing.T) { t.Fatal("wrong") },
		"panic":          func(*testing.T) { panic("wrong") },
		"exit":           func(*testing.T) { os.Exit(3) },
		"subtest (1)":    func(t *testing.T) { t.Run("inner", func(t *testing.T) { t.FailNow() }) },
		"cleanup":        func(t *testing.T) { t.Cleanup(func() { t.Error("wrong") }) },
	} {
		t.Run(name, func(t *testing.T) {
			if expect.Failure(t, "the test fails by itself") {
				return
			}
			fail(t)
		})
	}
}

var tries int

// A test that fails now and then fails.
func TestFailureNowAndThen(t *testing.T) {
	if expect.Failure(t, "the test fails the third time") {
		return
	}
	tries++
	require.Less(t, tries, 3)
}

// recorder is a test that keeps what is said of it, under a name of its own.
type recorder struct {
	testing.TB
	name, said string
}

func (r *recorder) Name() string { return r.name }

func (r *recorder) Errorf(format string, args ...any) { r.said += fmt.Sprintf(format, args...) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	panic(r)
}

func TestPassIsAFailure(t *testing.T) {
	r := &recorder{TB: t, name: t.Name()}
	if expect.Failure(r, "it is thought to fail") {
		require.Equal(t, "expect: the test passes now: remove its mark (it is thought to fail)", r.said)
	}
}

func TestNotRunIsAFailure(t *testing.T) {
	r := &recorder{TB: t, name: "TestOfAnotherName"}
	require.PanicsWithValue(t, r, func() { expect.Failure(r, "it fails") })
	require.Contains(t, r.said, "the test was not run")
}
