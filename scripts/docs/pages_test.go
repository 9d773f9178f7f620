// Package docs_test checks the pages that people read: README.md, the other pages beside it, and those in docs/.
package docs_test

import (
	"bufio"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the repository, from here.
const root = "../.."

// pages returns the paths of all pages.
func pages(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.md", "docs/*.md", ".github/*.md", ".github/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		paths = append(paths, found...)
	}
	require.Contains(t, paths, filepath.Join(root, "README.md"))
	return paths
}

// name is the path of a file as the repository has it.
func name(path string) string {
	return filepath.ToSlash(strings.TrimPrefix(path, filepath.FromSlash(root+"/")))
}

// goFiles returns the lines of all Go files of all modules that the go command compiles, by their names.
func goFiles(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || path == root:
			return err
		case entry.IsDir():
			if base := entry.Name(); base == "testdata" || base == "docs" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
				return filepath.SkipDir
			}
		case filepath.Ext(path) == ".go":
			files[name(path)] = readLines(t, path)
		}
		return nil
	}))
	return files
}

// readLines returns the lines of a file.
func readLines(t *testing.T, path string) []string {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	var lines []string
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		lines = append(lines, scanner.Text())
	}
	require.NoError(t, scanner.Err(), path)
	return lines
}
