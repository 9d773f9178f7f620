//go:build unix

// Package racetest_test tests racetest on real databases.
package racetest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) {
	// GORM never ends the cache of a pool with prepared statements.
	servers.Main(m, goleak.IgnoreTopFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}
