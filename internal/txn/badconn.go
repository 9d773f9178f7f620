package txn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
)

var errNoConnection = errors.New("the connection to the server was lost, or none could be had")

// explainBadConn says what driver.ErrBadConn means, whose text is that of a defect of the driver.
func explainBadConn(err error) error {
	if !errors.Is(err, driver.ErrBadConn) || errors.Is(err, errNoConnection) {
		return err
	}
	return fmt.Errorf("%w: %w", errNoConnection, err)
}

// PoolClosed reports whether err is what a closed *sql.DB answers to every call.
func PoolClosed(err error) bool { return errors.Is(err, errPoolClosed()) }

// errPoolClosed is a value that database/sql has no name for.
var errPoolClosed = sync.OnceValue(func() error {
	db := sql.OpenDB(noConnector{})
	_ = db.Close()
	return db.PingContext(context.Background())
})

type noConnector struct{}

func (noConnector) Connect(context.Context) (driver.Conn, error) { return nil, driver.ErrBadConn }
func (noConnector) Driver() driver.Driver                        { return nil }
