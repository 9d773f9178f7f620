package txn

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"syscall"
)

var errEndedBefore = errors.New("the server had closed the connection, so nothing more was sent: nothing was written")

// ended reports whether it is known that the connection is of no more use, before anything is sent: its other side has closed it,
// or has said that it will. What is not sent then was certainly not applied. To look costs no round trip. A connection that ends
// a moment later is not noticed, nor is one that a network has swallowed.
func (w wire) ended() bool {
	conn := w.network
	if conn == nil {
		return false
	}
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	unread, closed, err := peek(raw)
	if err != nil {
		return errors.Is(err, net.ErrClosed)
	}
	return closed || saysFatal(unread)
}

// saysFatal reports whether PostgreSQL, or a pooler in front of it, says unasked that it ends the session. Other messages may stand
// before that. https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-ASYNC
func saysFatal(unread []byte) bool {
	const head = 5 // the type, and the length of all but the type
	for len(unread) >= head {
		n := 1 + int64(binary.BigEndian.Uint32(unread[1:head]))
		if n < head || n > int64(len(unread)) {
			return false
		}
		if body := unread[head:n]; unread[0] == 'E' {
			return bytes.Contains(body, []byte("SFATAL\x00")) || bytes.Contains(body, []byte("VFATAL\x00"))
		}
		unread = unread[n:]
	}
	return false
}
