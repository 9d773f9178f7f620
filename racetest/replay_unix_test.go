//go:build unix

package racetest_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/racetest"
)

// The line that replays a failure can be pasted into a shell, whatever the test and the clients are called.
func TestReplayLineForShells(t *testing.T) {
	r := &recorder{name: "TestShop/bob's_$HOME"}
	s := scenario(buy)
	s.Clients[1].Name = "bob's $HOME"
	f := racetest.MustFail(r, s)
	_, line, _ := strings.Cut(f.String(), "\nreplay    ")
	out, err := exec.Command("sh", "-c", "go() { printf '%s|' \"$RACETEST_REPLAY\" \"$@\"; }; "+line).Output()
	require.NoError(t, err)
	require.Equal(t, string(f.Schedule)+`|test|-run|^TestShop$/^bob's_\$HOME$|.|`, string(out))
}
