//go:build unix

package optimistic_test

import (
	"testing"

	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }
