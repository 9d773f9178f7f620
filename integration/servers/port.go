//go:build unix

package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// portClaim is a loopback TCP port that no other test binary will choose while it is held.
//
// A server cannot be handed a listening socket, so there is a moment between choosing its port and its bind in which
// another may take the port. Two things close it: the ports lie below those that systems give to outgoing connections,
// and a claim holds the UDP socket of the same number, which test binaries look at and the servers do not use. A stranger
// may still come first; then the server does not start, and the start is tried again on another port.
type portClaim struct {
	number int
	udp    net.PacketConn
}

const firstPort, lastPort = 20000, 29999

func claimPort() (*portClaim, error) {
	for range 1000 {
		number := firstPort + rand.IntN(lastPort-firstPort+1)
		addr := loopback(number)
		udp, err := net.ListenPacket("udp4", addr)
		if err != nil {
			continue
		}
		tcp, err := net.Listen("tcp4", addr)
		if err != nil {
			udp.Close()
			continue
		}
		tcp.Close()
		return &portClaim{number: number, udp: udp}, nil
	}
	return nil, errors.New("servers: found no free loopback port")
}

func (c *portClaim) release() { c.udp.Close() }

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// claimPorts claims n ports, or none.
func claimPorts(n int) (claims []*portClaim, err error) {
	for range n {
		claim, err := claimPort()
		if err != nil {
			releasePorts(claims)
			return nil, fmt.Errorf("%w after %d of %d", err, len(claims), n)
		}
		claims = append(claims, claim)
	}
	return claims, nil
}

func releasePorts(claims []*portClaim) {
	for _, claim := range claims {
		claim.release()
	}
}
