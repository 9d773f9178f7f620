//go:build unix

package places

import (
	"github.com/alicebob/miniredis/v2"

	"github.com/nogap-go/nogap/integration/servers"
)

func (h *Host) startRedis() (addr string, err error) {
	if !h.InMemory {
		return servers.StartRedis(h.tb, 1)[0].Addr, nil
	}
	s, err := miniredis.Run()
	if err != nil {
		return "", err
	}
	h.tb.Cleanup(s.Close)
	return s.Addr(), nil
}
