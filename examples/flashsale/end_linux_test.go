package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// /dev/full is a disk without space. What can't be printed is not lost in silence.
func TestOutputThatFails(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	require.NoError(t, err)
	defer full.Close()
	dir := tempDir(t)
	var said strings.Builder
	status := run(t.Context(), []string{"-strategy", "atomic", "-rounds", "1", "-buyers", "5", "-stock", "1"}, full, &said)
	require.Equal(t, 1, status)
	require.Contains(t, said.String(), "flashsale: the results can't be printed: write /dev/full: no space left on device\n")
	requireEmpty(t, dir)
}
