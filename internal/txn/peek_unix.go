//go:build unix

package txn

import (
	"bytes"
	"errors"
	"sync"
	"syscall"
)

// peeker is the memory that peek needs. It is pooled, because every write peeks.
type peeker struct {
	buf    [512]byte
	read   int
	closed bool
	look   func(fd uintptr)
}

var peekers = sync.Pool{New: func() any {
	p := new(peeker)
	p.look = p.recv
	return p
}}

func (p *peeker) recv(fd uintptr) {
	n, _, err := syscall.Recvfrom(int(fd), p.buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	switch {
	case err == nil && n > 0:
		p.read, p.closed = n, closedBehind(int(fd))
	case err == nil, errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		p.closed = true
	}
}

// peek returns what has arrived at a socket and was not read, up to a few messages, or that the other side has closed it.
func peek(raw syscall.RawConn) (unread []byte, closed bool, err error) {
	p := peekers.Get().(*peeker)
	defer peekers.Put(p)
	p.read, p.closed = 0, false
	err = raw.Control(p.look)
	return bytes.Clone(p.buf[:p.read]), p.closed, err
}
