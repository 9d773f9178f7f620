package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/redis/go-redis/v9"
)

// startRedis starts redis-server processes on free ports. They keep nothing.
func startRedis(n int) (addrs []string, stop func(), err error) {
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
		_, port, _ := net.SplitHostPort(addr)
		cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
			"--dir", dir, "--logfile", filepath.Join(dir, fmt.Sprint(i, ".log")))
		if err := cmd.Start(); err != nil {
			stop()
			return nil, nil, err
		}
		running = append(running, cmd)
		addrs = append(addrs, addr)
	}
	for _, addr := range addrs {
		if err := awaitRedis(addr); err != nil {
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

func awaitRedis(addr string) error {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := client.Ping(context.Background()).Err()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
