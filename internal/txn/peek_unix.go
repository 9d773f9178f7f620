//go:build unix

package txn

import (
	"errors"
	"syscall"
)

// peek returns what has arrived at a socket and was not read, up to a few messages, or that the other side has closed it.
func peek(raw syscall.RawConn) (unread []byte, closed bool, err error) {
	buf := make([]byte, 512)
	err = raw.Control(func(fd uintptr) {
		n, _, failed := syscall.Recvfrom(int(fd), buf, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case failed == nil && n > 0:
			unread, closed = buf[:n], closedBehind(int(fd))
		case failed == nil, errors.Is(failed, syscall.ECONNRESET), errors.Is(failed, syscall.EPIPE):
			closed = true
		}
	})
	return unread, closed, err
}
