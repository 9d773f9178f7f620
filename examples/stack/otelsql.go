package stack

import (
	"database/sql"

	"github.com/XSAM/otelsql"

	"github.com/nogap-go/nogap/nogapotel"
)

// openTraced opens a database whose statements are spans, under the span of the operation of nogap that sends them.
func openTraced(driver, dsn string) (db *sql.DB, stop func(), err error) {
	db, err = otelsql.Open(driver, dsn)
	if err != nil {
		return nil, nil, err
	}
	return db, nogapotel.Observe(db), nil
}
