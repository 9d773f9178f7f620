package faultproxy_test

import (
	"bufio"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/nogap-go/nogap/integration/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that answers each line with itself and remembers how many it got.
type echo struct {
	addr string
	got  atomic.Int64
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	e := &echo{addr: listener.Addr().String()}
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewReader(conn); ; {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					e.got.Add(1)
					if _, err := io.WriteString(conn, line); err != nil {
						return
					}
				}
			}()
		}
	}()
	return e
}

type client struct {
	net.Conn
	replies *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return &client{Conn: conn, replies: bufio.NewReader(conn)}
}

func (c *client) send(t *testing.T, line string) {
	t.Helper()
	_, err := io.WriteString(c, line+"\n")
	require.NoError(t, err)
}

// read returns the next reply, or os.ErrDeadlineExceeded if there is none for a while.
func (c *client) read(patience time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	line, err := c.replies.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

const (
	soon   = 10 * time.Second      // for what must happen
	awhile = 50 * time.Millisecond // for what must not
)

func (c *client) requireEcho(t *testing.T, line string) {
	t.Helper()
	c.send(t, line)
	c.requireReply(t, line)
}

func (c *client) requireReply(t *testing.T, line string) {
	t.Helper()
	got, err := c.read(soon)
	require.NoError(t, err)
	require.Equal(t, line, got)
}

func (c *client) requireSilence(t *testing.T) {
	t.Helper()
	_, err := c.read(awhile)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func (c *client) requireReset(t *testing.T) {
	t.Helper()
	_, err := c.read(soon)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

// requireRefused dials and is reset, at once or a moment later.
func requireRefused(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	require.ErrorIs(t, err, syscall.ECONNRESET)
}

func (e *echo) requireGot(t *testing.T, n int64) {
	t.Helper()
	require.Eventually(t, func() bool { return e.got.Load() == n }, soon, time.Millisecond)
}

func start(t *testing.T) (*echo, *faultproxy.Proxy) {
	t.Helper()
	server := newEcho(t)
	return server, faultproxy.New(t, server.addr, faultproxy.Redis)
}

func TestPass(t *testing.T) {
	server, proxy := start(t)
	a, b := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	a.requireEcho(t, "one")
	b.requireEcho(t, "two")
	a.requireEcho(t, strings.Repeat("long ", 10_000))
	server.requireGot(t, 3)
	require.Equal(t, 2, proxy.Connections())

	require.NoError(t, a.Close())
	require.Eventually(t, func() bool { return proxy.Connections() == 1 }, soon, time.Millisecond)
	b.requireEcho(t, "three")
}

func TestHoldReplies(t *testing.T) {
	server, proxy := start(t)
	c := dial(t, proxy.Addr())
	c.requireEcho(t, "before")
	proxy.HoldReplies()
	c.send(t, "held")
	server.requireGot(t, 2)
	c.requireSilence(t)

	late := dial(t, proxy.Addr())
	late.send(t, "new")
	server.requireGot(t, 3)
	late.requireSilence(t)

	proxy.Pass()
	c.requireReply(t, "held")
	late.requireReply(t, "new")
	c.requireEcho(t, "after")
}

func TestHang(t *testing.T) {
	server, proxy := start(t)
	c := dial(t, proxy.Addr())
	c.requireEcho(t, "before")
	proxy.Hang()
	c.send(t, "held")
	c.requireSilence(t)
	require.EqualValues(t, 1, server.got.Load())
	proxy.Pass()
	c.requireReply(t, "held")
}

func TestCut(t *testing.T) {
	_, proxy := start(t)
	c := dial(t, proxy.Addr())
	c.requireEcho(t, "before")
	proxy.Cut()
	c.requireReset(t)
	dial(t, proxy.Addr()).requireEcho(t, "after")
}

func TestCutWhileHanging(t *testing.T) {
	server, proxy := start(t)
	c := dial(t, proxy.Addr())
	c.requireEcho(t, "before")
	proxy.Hang()
	c.send(t, "held")
	c.requireSilence(t)
	proxy.Cut()
	c.requireReset(t)
	proxy.Pass()
	dial(t, proxy.Addr()).requireEcho(t, "after")
	require.EqualValues(t, 2, server.got.Load(), "a request that was held up when its connection ended is lost")
}

func TestEndWithEOF(t *testing.T) {
	_, proxy := start(t)
	proxy.EndWithEOF()
	c := dial(t, proxy.Addr())
	c.requireEcho(t, "before")
	proxy.Cut()
	_, err := c.read(soon)
	require.ErrorIs(t, err, io.EOF)
}

func TestDelay(t *testing.T) {
	_, proxy := start(t)
	c := dial(t, proxy.Addr())
	c.requireEcho(t, "before")
	proxy.Delay(awhile)
	begun := time.Now()
	c.requireEcho(t, "late")
	require.GreaterOrEqual(t, time.Since(begun), 2*awhile)
	proxy.Pass()
	c.requireEcho(t, "after")
}

// The client has left, and the server still waits for it.
func TestCloseSlowly(t *testing.T) {
	_, proxy := start(t)
	c := dial(t, proxy.Addr())
	c.requireEcho(t, "before")
	proxy.CloseSlowly(awhile)
	begun := time.Now()
	proxy.Cut()
	c.requireReset(t)
	if n := proxy.Connections(); time.Since(begun) < awhile {
		require.Equal(t, 1, n)
	}
	require.Eventually(t, func() bool { return proxy.Connections() == 0 }, soon, time.Millisecond)
	require.GreaterOrEqual(t, time.Since(begun), awhile)
}

func TestHalfClose(t *testing.T) {
	server, proxy := start(t)
	c := dial(t, proxy.Addr())
	c.requireEcho(t, "before")
	proxy.EndReplies()
	_, err := c.read(soon)
	require.ErrorIs(t, err, io.EOF)
	c.send(t, "handed on")
	server.requireGot(t, 2)

	c = dial(t, proxy.Addr())
	c.requireEcho(t, "before")
	proxy.HoldReplies()
	c.send(t, "answered")
	server.requireGot(t, 4)
	proxy.EndRequests()
	proxy.Pass()
	c.requireReply(t, "answered")
	_, err = c.read(soon)
	require.Error(t, err)
}

func TestRedirect(t *testing.T) {
	first, proxy := start(t)
	old := dial(t, proxy.Addr())
	old.requireEcho(t, "before")
	second := newEcho(t)
	proxy.Redirect(second.addr)
	dial(t, proxy.Addr()).requireEcho(t, "new")
	second.requireGot(t, 1)
	old.requireEcho(t, "still there")
	first.requireGot(t, 2)
}

func TestRefuse(t *testing.T) {
	_, proxy := start(t)
	old := dial(t, proxy.Addr())
	old.requireEcho(t, "before")
	proxy.Refuse()
	requireRefused(t, proxy.Addr())
	old.requireEcho(t, "still there")
	proxy.Pass()
	dial(t, proxy.Addr()).requireEcho(t, "after")
}

func TestServerGone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	proxy := faultproxy.New(t, listener.Addr().String(), faultproxy.Redis)
	requireRefused(t, proxy.Addr())
}

func TestLoseRequest(t *testing.T) {
	server, proxy := start(t)
	lost := proxy.LoseRequest(faultproxy.Contains("COMMIT"))
	c, other := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	c.requireEcho(t, "BEGIN")
	select {
	case <-lost.Done():
		t.Fatal("struck at a request that does not match")
	default:
	}
	c.send(t, "COMMIT")
	c.requireReset(t)
	lost.Await(t)
	other.requireEcho(t, "COMMIT") // the fault is over
	require.EqualValues(t, 2, server.got.Load(), "the request was handed on")
}

func TestLoseRequestInPieces(t *testing.T) {
	server, proxy := start(t)
	lost := proxy.LoseRequest(faultproxy.Contains("COMMIT"))
	c := dial(t, proxy.Addr())
	_, err := io.WriteString(c, "COM")
	require.NoError(t, err)
	c.requireSilence(t)
	c.send(t, "MIT")
	c.requireReset(t)
	lost.Await(t)
	require.Zero(t, server.got.Load())
}

func TestLoseReply(t *testing.T) {
	server, proxy := start(t)
	lost := proxy.LoseReply(faultproxy.Contains("COMMIT"))
	c, other := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	c.requireEcho(t, "BEGIN")
	c.send(t, "COMMIT")
	c.requireReset(t)
	lost.Await(t)
	require.EqualValues(t, 2, server.got.Load(), "the connection was cut before the server answered")
	other.requireEcho(t, "COMMIT")
}

func TestHoldRequest(t *testing.T) {
	server, proxy := start(t)
	held := proxy.HoldRequest(faultproxy.Contains("COMMIT"))
	c, other := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	c.send(t, "COMMIT")
	held.Await(t)
	c.requireSilence(t)
	require.Zero(t, server.got.Load())
	other.requireEcho(t, "COMMIT")
	proxy.Pass()
	c.requireReply(t, "COMMIT")
}

func TestHoldReply(t *testing.T) {
	server, proxy := start(t)
	held := proxy.HoldReply(faultproxy.Contains("COMMIT"))
	c, other := dial(t, proxy.Addr()), dial(t, proxy.Addr())
	c.send(t, "COMMIT")
	held.Await(t)
	require.EqualValues(t, 1, server.got.Load())
	c.requireSilence(t)
	other.requireEcho(t, "COMMIT")
	proxy.Pass()
	c.requireReply(t, "COMMIT")
}

func TestPassForgetsFaults(t *testing.T) {
	_, proxy := start(t)
	proxy.LoseRequest(faultproxy.Contains("COMMIT"))
	proxy.Pass()
	dial(t, proxy.Addr()).requireEcho(t, "COMMIT")
}

// Two faults that wait for the same request strike one after the other.
func TestFaultsQueue(t *testing.T) {
	server, proxy := start(t)
	first := proxy.LoseRequest(faultproxy.Contains("COMMIT"))
	second := proxy.LoseReply(faultproxy.Contains("COMMIT"))
	for range 2 {
		c := dial(t, proxy.Addr())
		c.send(t, "COMMIT")
		c.requireReset(t)
	}
	first.Await(t)
	second.Await(t)
	require.EqualValues(t, 1, server.got.Load())
}
