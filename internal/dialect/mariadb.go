package dialect

import (
	"strings"

	"github.com/nogap-go/nogap"
)

var mariadb = language{
	dialect:  nogap.MariaDB,
	product:  MariaDB,
	question: "SELECT version()",
	recognize: func(v string) (Product, string) {
		if strings.Contains(v, "MariaDB") {
			// 10.11.6-MariaDB-0+deb12u1; behind some proxies 5.5.5-10.11.6-MariaDB
			return MariaDB, strings.TrimPrefix(v, "5.5.5-")
		}
		return 0, ""
	},
	capabilities: func(s Server) Capabilities {
		c := mysqlCapabilities()
		c.UpdateReturning = s.atLeast(13, 0)
		if s.olderThan(10, 6) {
			c.waits[SkipLocked] = false
		}
		if s.olderThan(10, 3) {
			c.waits[NoWait] = false
		}
		c.decimals.scale = 38
		c.inMode = "SET STATEMENT sql_mode = '%[1]s' FOR %[2]s %[3]s"
		c.LockLimit = StatementLimit
		c.NamedLocks = UserLocksInFractions
		return c
	},
}
