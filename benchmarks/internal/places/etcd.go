//go:build unix

package places

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// etcdLeash runs etcd and ends it when this program has ended, from whatever cause: then cat reads the end of its input.
const etcdLeash = `dir=$1; shift; "$@" </dev/null >"$dir/log" 2>&1 & cat >/dev/null; kill -KILL $!; rm -rf "$dir"`

// startEtcd starts one server. It writes to its disk before it acknowledges, as it always does.
func startEtcd(tb *harness) (addr string, err error) {
	program, err := exec.LookPath("etcd")
	if err != nil {
		return "", errors.New("there is no etcd: install the Debian package etcd-server")
	}
	dir, err := freshDir()
	if err != nil {
		return "", err
	}
	addrs, err := freeAddrs(2)
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	client, peer := "http://"+addrs[0], "http://"+addrs[1]
	cmd := exec.Command("/bin/sh", "-c", etcdLeash, "sh", dir, program, "--data-dir", filepath.Join(dir, "data"),
		"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer, "--log-level", "error")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	held, err := cmd.StdinPipe()
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	if err := cmd.Start(); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	tb.Cleanup(func() {
		_ = held.Close()
		_ = cmd.Wait() // what it ends with says nothing
	})
	if err := awaitEtcd(client); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		return "", fmt.Errorf("etcd does not answer: %w\n%s", err, log)
	}
	return addrs[0], nil
}

func awaitEtcd(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(response.Status)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// freeAddrs returns loopback addresses at which nobody listens, as long as nobody else takes them.
func freeAddrs(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
