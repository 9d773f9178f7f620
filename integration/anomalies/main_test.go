//go:build unix

// Package anomalies_test tells which call protects from which anomaly, on every database. The anomalies are those of
// Hermitage: https://github.com/ept/hermitage
package anomalies_test

import (
	"testing"

	"github.com/nogap-go/nogap/integration/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }
