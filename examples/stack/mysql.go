package stack

import (
	"database/sql"
	"time"

	"github.com/go-sql-driver/mysql"
)

func openMySQL(addr, user, password, name string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", addr, user, password, name
	cfg.ParseTime = true                                            // times are time.Time
	cfg.ReadTimeout, cfg.WriteTimeout = time.Minute, time.Minute    // more than the longest statement takes
	cfg.InterpolateParams = true                                    // one trip for a statement with arguments; a must on Galera
	cfg.Params = map[string]string{"innodb_lock_wait_timeout": "5"} // the default is 50 s
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
