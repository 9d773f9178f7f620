package txn

import (
	"database/sql/driver"
	"errors"
	"fmt"
)

var errNoConnection = errors.New("the connection to the server was lost, or none could be had")

// explainBadConn says what driver.ErrBadConn means, whose text is that of a defect of the driver.
func explainBadConn(err error) error {
	if !errors.Is(err, driver.ErrBadConn) || errors.Is(err, errNoConnection) {
		return err
	}
	return fmt.Errorf("%w: %w", errNoConnection, err)
}
