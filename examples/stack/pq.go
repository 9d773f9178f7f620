package stack

import (
	"database/sql"

	_ "github.com/lib/pq" // the driver "postgres"
)

func openPq(dsn string) (*sql.DB, error) {
	return sql.Open("postgres", dsn)
}
