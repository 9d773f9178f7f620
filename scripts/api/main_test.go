package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every kind of thing that a package can export has its line, and nothing else has.
func TestDescribe(t *testing.T) {
	packages, err := load(".", "./testdata/kinds")
	require.NoError(t, err)
	require.Len(t, packages, 1)
	want, err := os.ReadFile("testdata/kinds.txt")
	require.NoError(t, err)
	for label, pkg := range packages {
		require.Equal(t, "scripts/api/testdata/kinds", label)
		require.Equal(t, string(want), strings.Join(describe("kinds", pkg), "\n")+"\n")
	}
}

// The files are those of the public packages: no command, nothing internal, and none of a package that is gone.
func TestWrite(t *testing.T) {
	t.Chdir("../..")
	dir := filepath.Join(t.TempDir(), "api")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "gone.txt"), nil, 0o644))
	require.NoError(t, write(dir, []string{"."})) // the others need a newer Go than the oldest one with which this is tested
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	var names []string
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".txt"))
	}
	require.Subset(t, names, []string{"nogap", "atomic", "distlock", "optimistic", "pessimistic"})
	for _, name := range names {
		require.NotEqual(t, "gone", name)
		require.NotContains(t, name, "internal")
		require.NotContains(t, name, "scripts")
	}
	atomic, err := os.ReadFile(filepath.Join(dir, "atomic.txt"))
	require.NoError(t, err)
	require.Contains(t, string(atomic), "\npkg atomic, func NewCounter[N any](*sql.DB, ")
}

func TestLoadFindsNothing(t *testing.T) {
	_, err := load(".", ".")
	require.ErrorContains(t, err, "no public package", "a command has no API")
}
