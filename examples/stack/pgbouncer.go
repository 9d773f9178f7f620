package stack

import (
	"database/sql"
	"net/url"
)

// openPgBouncer opens PostgreSQL behind PgBouncer in transaction pooling: with pgx, or else with lib/pq.
func openPgBouncer(driver, dsn string) (*sql.DB, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	switch driver {
	case "pgx":
		query.Set("default_query_exec_mode", "exec")
	case "postgres":
		query.Set("binary_parameters", "yes")
	}
	u.RawQuery = query.Encode()
	return sql.Open(driver, u.String())
}
