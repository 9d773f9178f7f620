package gate

import (
	"context"
	"database/sql"
	"database/sql/driver"
)

// Wrap returns a connector whose connections ask ctl before each statement. To close a *sql.DB on it does not close c, since several
// clients share it.
func Wrap(c driver.Connector, ctl Controller) driver.Connector {
	return &connector{inner: c, ctl: ctl}
}

// Open returns the connector of a driver that is registered with database/sql. Nothing is connected yet.
func Open(driverName, dsn string) (driver.Connector, error) {
	db, err := sql.Open(driverName, dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close() // which was opened for its driver
	d := db.Driver()
	if c, ok := d.(driver.DriverContext); ok {
		return c.OpenConnector(dsn)
	}
	return dsnConnector{d, dsn}, nil
}

// dsnConnector is what database/sql makes of a driver that has no connectors.
type dsnConnector struct {
	driver driver.Driver
	dsn    string
}

func (c dsnConnector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.dsn) }

func (c dsnConnector) Driver() driver.Driver { return c.driver }

type connector struct {
	inner driver.Connector
	ctl   Controller
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.inner.Connect(ctx)
	if err != nil {
		return nil, err
	}
	s, err := newSession(ctx, inner)
	if err != nil {
		inner.Close()
		return nil, err
	}
	return exposed(&conn{inner: inner, session: s, ctl: c.ctl}), nil
}

func (c *connector) Driver() driver.Driver { return c.inner.Driver() }
