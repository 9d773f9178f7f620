//go:build unix

package servers

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// unprivileged returns the account to run a server as: nil, which is the current user, or for root the first of the
// names that exists.
func unprivileged(names ...string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("servers: no account %s to run as instead of root", strings.Join(names, " or "))
}

// tempDir makes a directory that the account owns.
func tempDir(name string, as *syscall.Credential) (string, error) {
	dir, err := os.MkdirTemp("", "nogap-"+name+"-")
	if err != nil {
		return "", err
	}
	if as == nil {
		return dir, nil
	}
	if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
		_ = os.Remove(dir)
		return "", err
	}
	return dir, nil
}

// find returns the path of a program: in one of the directories, in PATH, or where servers are kept out of the PATH of
// ordinary users. debian is the package that has it there.
func find(program, debian string, dirs ...string) (string, error) {
	for _, dir := range dirs {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("servers: %s is not installed: install the Debian package %s, or name a server of yours in the "+
		"environment (go doc github.com/nogap-go/nogap/integration/servers): %w", program, debian, exec.ErrNotFound)
}
