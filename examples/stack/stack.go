// Package stack is the code of docs/with-your-stack.md: nogap together with what a service has already, one file for each. The
// tests run it.
package stack

import "errors"

var errSoldOut = errors.New("sold out")

// schema works on PostgreSQL, MariaDB, MySQL and SQLite.
var schema = []string{
	"CREATE TABLE items (id varchar(40) PRIMARY KEY, stock bigint NOT NULL)",
	"CREATE TABLE orders (id bigint PRIMARY KEY, sku varchar(40) NOT NULL, quantity bigint NOT NULL)",
}

// Order is a row of orders, for each of the libraries. A sale inserts it and takes its quantity from the stock,
// both or neither. The stock comes last, since from then on everybody who buys the same waits for the COMMIT.
type Order struct {
	ID       int64 `db:"id" gorm:"primaryKey" bun:"id,pk"`
	SKU      string
	Quantity int64
}
