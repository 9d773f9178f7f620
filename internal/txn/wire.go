package txn

import (
	"database/sql"
	"fmt"
	"net"
	"reflect"
	"time"
)

// wire is the connection of a driver to its server.
type wire struct {
	db         *sql.DB
	driverConn any      // nil if the connection was lost before it was looked for
	network    net.Conn // nil if the driver has none that is known
}

// wire returns that of the connection. It is looked for once, since every write asks for it several times.
func (c *Conn) wire() wire {
	if c.found.driverConn != nil {
		return c.found
	}
	c.found = wire{db: c.db}
	c.conn.Raw(func(driverConn any) error {
		c.found.driverConn, c.found.network = driverConn, networkOf(driverConn)
		return nil
	})
	return c.found
}

// networkConn is the network connection of a driver's connection.
var networkConn = field{paths: map[string][]string{
	pgxConn:   {"conn.pgConn.conn"},
	pqConn:    {"c"},
	mysqlConn: {"netConn"},
}}

// networkOf returns the network connection of a driver's connection, or nil if it has none that is known.
func networkOf(driverConn any) net.Conn {
	v, ok := networkConn.of(driverConn)
	if !ok || v.Type() != reflect.TypeFor[net.Conn]() {
		return nil
	}
	// A driver sets the field when it connects, and never again. reflect hands out no unexported field by itself.
	conn, _ := reflect.NewAt(v.Type(), v.Addr().UnsafePointer()).Elem().Interface().(net.Conn)
	return conn
}

// pqWire is the network connection of lib/pq's connections alone.
var pqWire = field{paths: map[string][]string{pqConn: networkConn.paths[pqConn]}}

// waitsOn reports whether the driver may wait for an answer for ever, although the context of its call has ended.
func (w wire) waitsOn() bool {
	_, ok := pqWire.of(w.driverConn)
	return ok
}

// endsByCut reports whether nothing else is needed to end what the driver does.
func (w wire) endsByCut() bool { return w.network != nil }

// known reports whether the wire can be cut, or a server be asked to cancel what goes over it.
func (w wire) known() bool {
	_, ok := w.canceller()
	return ok || w.network != nil
}

// port returns the port on this side, or 0 if there is none that is known.
func (w wire) port() int {
	if w.network != nil {
		if addr, ok := w.network.LocalAddr().(*net.TCPAddr); ok {
			return addr.Port
		}
	}
	return 0
}

// host returns what MySQL calls this side, as SQL: it knows the loopback address by a name. It is empty if that is not known.
func (w wire) host() string {
	if w.network == nil {
		return ""
	}
	addr, ok := w.network.LocalAddr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	hosts := fmt.Sprintf("'%v:%d'", addr.IP, addr.Port)
	if addr.IP.IsLoopback() {
		hosts += fmt.Sprintf(", 'localhost:%d'", addr.Port)
	}
	return hosts
}

// close closes the network connection, if it is known: some, such as those through SSH, have no deadlines, and a driver with a
// time limit of its own sets another one.
func (w wire) close() {
	if w.network != nil {
		_ = w.network.Close()
	}
}

// server returns the address on the other side, or "".
func (w wire) server() string {
	if w.network != nil && w.network.RemoteAddr() != nil {
		return w.network.RemoteAddr().String()
	}
	return ""
}

// cut ends what is under way, and reports whether it can. The end of a context is not enough for that: lib/pq then asks the
// server to cancel the statement, and waits for its answer for ever.
func (w wire) cut() bool {
	return w.network != nil && w.network.SetDeadline(time.Unix(1, 0)) == nil
}
