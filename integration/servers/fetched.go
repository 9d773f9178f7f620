//go:build unix

package servers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// fetched returns the directory into which scripts/fetch-servers.sh has unpacked a server. The error is exec.ErrNotFound
// if it has not.
func fetched(name string) (root string, err error) {
	cache, err := fetchedDir()
	if err != nil {
		return "", err
	}
	root = filepath.Join(cache, name)
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("servers: %s is missing: scripts/fetch-servers.sh %s fetches it: %w", root, name, exec.ErrNotFound)
	}
	return root, nil
}

// fetchedDir returns the directory that scripts/fetch-servers.sh chooses.
func fetchedDir() (string, error) {
	if dir := os.Getenv("NOGAP_SERVERS"); dir != "" {
		return dir, nil
	}
	if os.Geteuid() == 0 {
		return "/var/cache/nogap/servers-1", nil
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "nogap/servers-1"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".cache/nogap/servers-1"), err
}

// Newest reports whether NOGAP_NEWEST is set. PostgreSQL, MariaDB and Redis are then servers that
// scripts/fetch-servers.sh has fetched, with Valkey in the place of Redis, and not those of this system.
func Newest() bool { return os.Getenv("NOGAP_NEWEST") != "" }

// newest returns the directory of a fetched server if NOGAP_NEWEST is set, and "" if not.
func newest(name string) (root string, err error) {
	if !Newest() {
		return "", nil
	}
	return fetched(name)
}

// copyData gives a server a copy of the initialised data directory of a fetched one, and returns its path.
func copyData(s *Server, root string) (string, error) {
	data := filepath.Join(s.dir, "data")
	return data, run(s.dir, s.as, "cp", "-R", filepath.Join(root, "data"), data)
}
