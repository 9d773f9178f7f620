// Package faultproxy stands between a client and a server in a test and breaks the connection where the test says:
//
//	proxy, dsn := target.Proxy(t, dsn)              // package matrix; or New(t, addr, faultproxy.Redis)
//	lost := proxy.LoseReply(faultproxy.Executes("COMMIT"))
//	err := transfer(ctx, target.Connect(t, dsn))    // the server committed, and the client will never hear of it
//	lost.Await(t)
//
// There are three kinds of faults. Some hold for all connections, those to come included, until Pass: HoldReplies, Hang,
// Refuse, Delay, CloseSlowly. Some strike the connections there are: Cut, EndRequests, EndReplies. The ones with a Match
// wait for one request, on any connection, break that connection and are over: LoseRequest, LoseReply, HoldRequest, HoldReply.
//
// Held bytes are not lost: Pass delivers them, late, as a network does that recovers.
//
// Toxiproxy was looked at first. Its faults come after a time or a number of bytes, and one of them sees one direction
// of a connection, so that "cut when the server has answered this request" cannot be said.
package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes bytes between clients and one server. All methods may be called at any time from any goroutine.
type Proxy struct {
	protocol Protocol
	listener net.Listener
	pumps    sync.WaitGroup

	mu       sync.Mutex
	upstream string
	changed  *sync.Cond // a gate was opened, or a connection ended
	held     gates      // of all connections
	refuse   bool
	delay    time.Duration // of each piece, in both directions
	slow     time.Duration // from the end of the client's side to that of the server's
	eof      bool
	closed   bool
	conns    map[*conn]bool
	faults   []*Fault
}

// gates say which directions are held up.
type gates struct{ requests, replies bool }

// New starts a proxy in front of the server at upstream, host:port. It ends with the test.
func New(tb testing.TB, upstream string, protocol Protocol) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{upstream: upstream, protocol: protocol, listener: listener, conns: map[*conn]bool{}}
	p.changed = sync.NewCond(&p.mu)
	p.pumps.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr returns where clients connect, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Redirect has the connections to come go to another server, as a failover does. Those there are stay where they are.
func (p *Proxy) Redirect(upstream string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upstream = upstream
}

// Pass ends the faults that hold and forgets those that still wait for their request. What was held up is delivered.
func (p *Proxy) Pass() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.refuse, p.delay, p.slow, p.faults = gates{}, false, 0, 0, nil
	for c := range p.conns {
		c.held = gates{}
	}
	p.changed.Broadcast()
}

// HoldReplies holds up what the server says. Requests still arrive.
func (p *Proxy) HoldReplies() { p.hold(gates{replies: true}) }

// Hang holds up both directions. Clients can still connect.
func (p *Proxy) Hang() { p.hold(gates{requests: true, replies: true}) }

func (p *Proxy) hold(g gates) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = g
}

// Delay holds every piece up for a while, in both directions.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// CloseSlowly has the server learn of the end of a connection, whatever ends it, only a while after the client: its session
// goes on meanwhile, with its transaction and its locks.
func (p *Proxy) CloseSlowly(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow = d
}

// EndRequests half closes every connection there is: the server reads an end of file, and what it answers still arrives.
func (p *Proxy) EndRequests() { p.halfClose(func(c *conn) *net.TCPConn { return c.server }) }

// EndReplies half closes every connection there is: the client reads an end of file, and what it has sent is still handed on.
func (p *Proxy) EndReplies() { p.halfClose(func(c *conn) *net.TCPConn { return c.client }) }

func (p *Proxy) halfClose(side func(*conn) *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = side(c).CloseWrite() // it may be over
	}
}

// Cut resets every connection there is, on both sides. The server accepts new ones.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.end(true)
	}
}

// EndWithEOF makes the proxy end connections with an end of file from now on, as a server that exits does, in place of a
// reset. Drivers do not treat the two alike.
func (p *Proxy) EndWithEOF() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.eof = true
}

// Refuse resets new connections as soon as they are made. Those there are live on.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = true
}

// Connections returns how many connections there are.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// LoseRequest resets the connection of the first request that matches, in place of handing the request on: the server
// never sees it.
func (p *Proxy) LoseRequest(match Match) *Fault { return p.arm(match, loseRequest) }

// LoseReply hands the first request that matches on, waits for the answer and resets the connection in place of
// delivering it: the server did what it was asked to, and the client does not know.
func (p *Proxy) LoseReply(match Match) *Fault { return p.arm(match, loseReply) }

// HoldRequest holds up the first request that matches and everything after it on its connection.
func (p *Proxy) HoldRequest(match Match) *Fault { return p.arm(match, holdRequest) }

// HoldReply hands the first request that matches on and holds up the answer, and everything after it on its connection.
// The fault has struck when the answer is there.
func (p *Proxy) HoldReply(match Match) *Fault { return p.arm(match, holdReply) }

// Fault is a fault that waits for its request.
type Fault struct {
	match Match
	kind  kind
	done  chan struct{}
}

type kind int

const (
	loseRequest kind = iota + 1
	loseReply
	holdRequest
	holdReply
)

// Done returns a channel that is closed when the fault has struck.
func (f *Fault) Done() <-chan struct{} { return f.done }

// Await waits until the fault has struck, and fails the test after ten seconds.
func (f *Fault) Await(tb testing.TB) {
	tb.Helper()
	select {
	case <-f.done:
	case <-time.After(10 * time.Second):
		tb.Fatal("faultproxy: no request matched")
	}
}

func (p *Proxy) arm(match Match, kind kind) *Fault {
	f := &Fault{match: match, kind: kind, done: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, f)
	return f
}

// take returns the first fault that waits for a request and removes it.
func (p *Proxy) take(r Request) *Fault {
	for i, f := range p.faults {
		if f.match(r) {
			p.faults = append(p.faults[:i:i], p.faults[i+1:]...)
			return f
		}
	}
	return nil
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.pumps.Go(func() { p.serve(client.(*net.TCPConn)) })
	}
}

// serve connects a client with the server until one of them leaves.
func (p *Proxy) serve(client *net.TCPConn) {
	p.mu.Lock()
	refuse, upstream := p.refuse || p.closed, p.upstream
	p.mu.Unlock()
	if refuse {
		reset(client)
		return
	}
	server, err := net.DialTimeout("tcp", upstream, 5*time.Second)
	if err != nil {
		reset(client)
		return
	}
	c := &conn{proxy: p, client: client, server: server.(*net.TCPConn), tap: p.protocol.tap()}
	p.mu.Lock()
	p.conns[c] = true
	if p.closed {
		c.end(true)
	}
	p.mu.Unlock()

	var pumps sync.WaitGroup
	pumps.Go(func() { c.pump(c.client, c.server, c.request) })
	pumps.Go(func() { c.pump(c.server, c.client, c.reply) })
	pumps.Wait()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *Proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.end(true)
	}
	p.mu.Unlock()
	p.pumps.Wait()
}

// conn is one client's connection. Its fields are guarded by the proxy's mutex.
type conn struct {
	proxy          *Proxy
	client, server *net.TCPConn
	tap            tap

	held   gates  // of this connection alone
	answer *Fault // waits for the next reply
	ended  bool
}

// pump copies one direction. pass decides about each piece, and about the end of the stream, which is an empty piece:
// it returns false if the connection is over.
func (c *conn) pump(from, to *net.TCPConn, pass func([]byte) bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			c.proxy.wait()
		}
		if n > 0 && pass(buf[:n]) {
			_, werr := to.Write(buf[:n])
			err = errors.Join(err, werr)
		}
		if err != nil {
			pass(nil)
			c.proxy.mu.Lock()
			c.end(!errors.Is(err, io.EOF))
			c.proxy.mu.Unlock()
			return
		}
	}
}

// wait lets the delay pass.
func (p *Proxy) wait() {
	p.mu.Lock()
	d := p.delay
	p.mu.Unlock()
	time.Sleep(d)
}

// request decides about bytes of the client. It returns when they may pass.
func (c *conn) request(b []byte) bool {
	p := c.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(b) > 0 {
		if f := p.take(c.tap.request(b)); f != nil {
			switch f.kind {
			case loseRequest:
				c.end(true)
				close(f.done)
			case holdRequest:
				c.held.requests = true
				close(f.done)
			case loseReply, holdReply:
				c.answer = f
			}
		}
	}
	for (p.held.requests || c.held.requests) && !c.ended {
		p.changed.Wait()
	}
	return !c.ended
}

// reply decides about bytes of the server. It returns when they may pass.
func (c *conn) reply(b []byte) bool {
	p := c.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(b) > 0 {
		c.tap.reply(b)
		if f := c.answer; f != nil {
			c.answer = nil
			if f.kind == loseReply {
				c.end(true)
			} else {
				c.held.replies = true
			}
			close(f.done)
		}
	}
	for (p.held.replies || c.held.replies) && !c.ended {
		p.changed.Wait()
	}
	return !c.ended
}

// end closes both sides, with a reset or as a program does that exits. The proxy's mutex is held.
func (c *conn) end(abort bool) {
	if c.ended {
		return
	}
	c.ended = true
	abort = abort && !c.proxy.eof
	closeConn(c.client, abort)
	if c.proxy.slow > 0 && !c.proxy.closed {
		time.AfterFunc(c.proxy.slow, func() { closeConn(c.server, abort) }) // serve waits for it
	} else {
		closeConn(c.server, abort)
	}
	c.proxy.changed.Broadcast()
}

func closeConn(c *net.TCPConn, abort bool) {
	if abort {
		reset(c)
	} else {
		_ = c.Close()
	}
}

// reset closes a connection so that the other side reads "connection reset by peer".
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
