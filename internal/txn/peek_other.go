//go:build !unix

package txn

import "syscall"

func peek(syscall.RawConn) (unread []byte, closed bool, err error) { return nil, false, nil }
