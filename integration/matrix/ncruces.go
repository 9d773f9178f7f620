//go:build unix && ncruces

package matrix

import (
	_ "github.com/ncruces/go-sqlite3/driver" // registers the name that the linker gave it

	"github.com/nogap-go/nogap"
)

func ncruces() []Target {
	return []Target{
		{Name: "sqlite/ncruces", Dialect: nogap.SQLite, Driver: "ncruces", fresh: freshFile(pragmas), maxOpen: sqlitePool},
	}
}
