package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A listener is a real HTTP server on a loopback port.
type listener struct {
	url    string
	server *http.Server
}

func listen(h http.Handler) (*listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go server.Serve(l) // returns when the server is stopped
	return &listener{url: "http://" + l.Addr().String(), server: server}, nil
}

// stop waits for the requests that are being answered, for a bounded time.
func (l *listener) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.server.Shutdown(ctx); err != nil {
		return errors.Join(err, l.server.Close())
	}
	return nil
}

// newClient returns a client that keeps up to conns connections to a server. More requests than that take turns,
// rather than use up the ports of the machine.
func newClient(conns int) (client *http.Client, closeIdle func()) {
	t := &http.Transport{MaxConnsPerHost: conns, MaxIdleConnsPerHost: conns}
	return &http.Client{Transport: t}, t.CloseIdleConnections
}

// buyerHeader has the number of the buyer in it, so that a race can be told afterwards.
const buyerHeader = "Buyer"

// call sends a request without a body and returns the whole answer. The number of the buyer is sent unless it is 0.
func call(ctx context.Context, client *http.Client, method, url string, buyer int) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return 0, "", err
	}
	if buyer != 0 {
		req.Header.Set(buyerHeader, strconv.Itoa(buyer))
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body) // to the end, so that the connection can be used again
	return resp.StatusCode, strings.TrimSpace(string(text)), err
}
