package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// startCluster starts three servers and makes a Cluster of them.
func startCluster() (addrs []string, stop func(), err error) {
	addrs, stop, err = startServers(3, clusterOptions)
	if err != nil {
		return nil, nil, err
	}
	out, err := exec.Command("redis-cli", append(append([]string{"--cluster", "create"}, addrs...), "--cluster-yes")...).CombinedOutput()
	if err != nil {
		stop()
		return nil, nil, fmt.Errorf("redis-cli --cluster create: %w\n%s", err, out)
	}
	for _, addr := range addrs {
		if err := await(addr, func(ctx context.Context, c *redis.Client) error {
			info, err := c.ClusterInfo(ctx).Result()
			if err == nil && !strings.Contains(info, "cluster_state:ok") {
				err = errors.New("the Cluster is not in order")
			}
			return err
		}); err != nil {
			stop()
			return nil, nil, err
		}
	}
	return addrs, stop, nil
}

// clusterOptions are those of a server of a Cluster. The port that Redis would choose for the bus need not be free.
func clusterOptions(dir string, i int) ([]string, error) {
	bus, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(bus)
	return []string{"--cluster-enabled", "yes", "--cluster-port", port,
		"--cluster-config-file", filepath.Join(dir, fmt.Sprint(i, ".conf"))}, nil
}

// startRedis starts independent servers.
func startRedis(n int) (addrs []string, stop func(), err error) {
	return startServers(n, func(string, int) ([]string, error) { return nil, nil })
}

// startServers starts redis-server processes on free ports. They keep nothing.
func startServers(n int, options func(dir string, i int) ([]string, error)) (addrs []string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "nogap-bench")
	if err != nil {
		return nil, nil, err
	}
	var running []*exec.Cmd
	stop = func() {
		for _, cmd := range running {
			cmd.Process.Kill()
			cmd.Wait()
		}
		os.RemoveAll(dir)
	}
	for i := range n {
		addr, err := freeAddr()
		if err != nil {
			stop()
			return nil, nil, err
		}
		more, err := options(dir, i)
		if err != nil {
			stop()
			return nil, nil, err
		}
		_, port, _ := net.SplitHostPort(addr)
		cmd := exec.Command("redis-server", append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
			"--dir", dir, "--logfile", filepath.Join(dir, fmt.Sprint(i, ".log"))}, more...)...)
		if err := cmd.Start(); err != nil {
			stop()
			return nil, nil, err
		}
		running = append(running, cmd)
		addrs = append(addrs, addr)
	}
	for _, addr := range addrs {
		if err := await(addr, ping); err != nil {
			stop()
			return nil, nil, err
		}
	}
	return addrs, stop, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func ping(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() }

// await waits until ask has no error.
func await(addr string, ask func(context.Context, *redis.Client) error) error {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ask(context.Background(), client)
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
