package txn

import (
	"encoding/binary"
	"syscall"
)

// tcpEstablished is the state of a connection that no side has closed. It is the first byte of Linux's struct tcp_info.
const tcpEstablished = 1

// closedBehind reports whether the other side has closed the connection behind what was not read yet.
func closedBehind(fd int) bool {
	info, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_INFO)
	if err != nil { // no TCP
		return false
	}
	var bytes [4]byte
	binary.NativeEndian.PutUint32(bytes[:], uint32(info))
	return bytes[0] != tcpEstablished
}
