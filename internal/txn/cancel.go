package txn

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"reflect"

	"github.com/nogap-go/nogap"
)

// canceller is how the server of a driver is asked to cancel what a connection runs. The statement's own answer then says
// whether it was cancelled. The request may arrive later than that, so the connection must run nothing else.
type canceller struct {
	ask func(ctx context.Context, o *overtime)
	// direct: the request goes to whom the connection goes to, who must be PostgreSQL itself: PgBouncer 1.18 crashes of
	// such a request (pgbouncer#801).
	direct bool
	// hasStandby reports whether writes wait for a standby. What succeeds all the same may only have been cut short in that wait.
	hasStandby func(ctx context.Context, beside Pool) bool
}

// cancellerOf returns that of a type of the drivers' connections.
func cancellerOf(t string) (how canceller, ok bool) {
	switch t {
	case pgxConn:
		return canceller{askPgx, true, hasStandbyPostgres}, true
	case pqConn:
		return canceller{askPQ, true, hasStandbyPostgres}, true
	case mysqlConn:
		return canceller{askMySQL, false, hasStandbyMySQL}, true
	}
	return canceller{}, false
}

// canceller returns that of the connection, and false if it has none that may be used.
func (w wire) canceller() (canceller, bool) {
	t := reflect.TypeOf(w.driverConn)
	if t == nil || t.Kind() != reflect.Pointer {
		return canceller{}, false
	}
	how, ok := cancellerOf(typeName(t))
	return how, ok && (!how.direct || linkOf(w.db).direct.is(true))
}

// askPgx calls a method of the driver's *pgconn.PgConn. It needs no connection of the pool.
func askPgx(ctx context.Context, o *overtime) {
	conn := reflect.ValueOf(o.wire.driverConn).MethodByName("Conn")
	if !conn.IsValid() {
		return
	}
	pgConn := conn.Call(nil)[0].MethodByName("PgConn")
	if !pgConn.IsValid() {
		return
	}
	if pg, ok := pgConn.Call(nil)[0].Interface().(interface{ CancelRequest(context.Context) error }); ok {
		_ = pg.CancelRequest(ctx) // the statement's answer tells
	}
}

// cancelKey is what PostgreSQL has told lib/pq, for its cancel requests.
var cancelKey = field{paths: map[string][]string{pqConn: {"secretKey"}}}

// askPQ sends the request of the protocol itself: lib/pq does so only at the end of a context, at which database/sql closes
// the rows of an answer that has just come.
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
func askPQ(ctx context.Context, o *overtime) {
	network, pid := o.wire.network, o.wire.pid()
	key, ok := cancelKey.of(o.wire.driverConn)
	if _, encrypted := network.(*tls.Conn); network == nil || encrypted || pid == 0 || !ok {
		return // the key of an encrypted session is not sent in clear text
	}
	const code = 80877102
	message := binary.BigEndian.AppendUint32(nil, code)
	message = binary.BigEndian.AppendUint32(message, uint32(pid))
	switch {
	case key.CanInt():
		message = binary.BigEndian.AppendUint32(message, uint32(key.Int()))
	case key.Kind() == reflect.Slice && key.Type().Elem().Kind() == reflect.Uint8:
		message = append(message, key.Bytes()...)
	default:
		return
	}
	message = append(binary.BigEndian.AppendUint32(nil, uint32(len(message)+4)), message...)
	addr := network.RemoteAddr()
	conn, err := new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
	if err != nil {
		return
	}
	defer conn.Close()
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until)
	}
	if _, err := conn.Write(message); err == nil {
		_, _ = conn.Read(make([]byte, 1)) // the server closes it when it has passed the request on
	}
}

// askMySQL kills the statement over a connection aside.
func askMySQL(ctx context.Context, o *overtime) {
	if o.wire.port() == 0 {
		return
	}
	linkOf(o.wire.db).aside.use(o.wire.db, func(db *sql.DB) {
		_ = killQuery(ctx, db, o.wire) // likewise
	})
}

// killQuery kills the statement of this user's session that comes from a port of this machine. The server knows its sessions by
// a number that the driver does not keep, and also by where they come from, as it sees it. Through a proxy, or where addresses
// are translated, it sees something else, and the port may be that of a stranger: so the connection that asks looks for itself
// first, and if it does not find itself under its own address, nothing is killed.
func killQuery(ctx context.Context, db *sql.DB, w wire) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	beside := (&Conn{conn: conn, db: db}).wire()
	if beside.server() != w.server() { // the name of the server stands for several
		return nil
	}
	host := beside.host()
	if host == "" {
		return nil
	}
	var session int64
	if err := conn.QueryRowContext(ctx, fmt.Sprintf(sessionOfPort, beside.port(), w.port(), host)).Scan(&session); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, fmt.Sprintf("KILL QUERY %d", session))
	return err
}

const sessionOfPort = `
SELECT other.ID FROM information_schema.PROCESSLIST AS own
JOIN information_schema.PROCESSLIST AS other ON other.USER = own.USER
	AND other.HOST = CONCAT(LEFT(own.HOST, CHAR_LENGTH(own.HOST) - CHAR_LENGTH('%[1]d')), '%[2]d')
WHERE own.ID = CONNECTION_ID() AND own.HOST IN (%[3]s)`

// backendPID is what a driver of PostgreSQL was told, when it connected, to be the process of the server.
var backendPID = field{paths: map[string][]string{
	pgxConn: {"conn.pgConn.pid"},
	pqConn:  {"pid", "processID"},
}}

// pid returns the number of the server's process, or 0 if it is not known.
func (w wire) pid() int64 {
	v, ok := backendPID.of(w.driverConn)
	switch {
	case ok && v.CanInt():
		return v.Int()
	case ok && v.CanUint():
		return int64(v.Uint())
	}
	return 0
}

// findDirect finds out, once for each *sql.DB, whether it reaches PostgreSQL itself: a pooler in between tells a process of its
// own.
func (c *Conn) findDirect(ctx context.Context) error {
	if pkg := driverPackage(c.db); pkg != pgxPackage && pkg != pqPackage {
		return nil
	}
	_, err := linkOf(c.db).direct.find(func() (bool, error) {
		var pid sql.Null[int64] // NULL from a server that has no processes
		err := c.Read(ctx, "SELECT pg_backend_pid()", nil, &pid)
		if err != nil && (definite(err) || maybeDefinite(err) && c.answers(ctx)) { // refused, or no number
			return false, nil
		}
		return err == nil && pid.Valid && pid.V == c.wire().pid(), err
	})
	return err
}

var errOnlyHere = errors.New("the statement was applied, and may not have reached the synchronous standby, for which the " +
	"server was asked not to wait any longer")

// afterAsking returns what came of a statement that has ended with err after the server was asked to cancel it. What it asks then
// takes as long as a new connection does, which can be longer than what is left of the grace.
func (o *overtime) afterAsking(ctx context.Context, err error) error {
	how, ok := o.wire.canceller()
	if err != nil || !ok {
		return err
	}
	ctx, cancel := beyond(ctx)
	defer cancel()
	onlyHere := true
	linkOf(o.wire.db).aside.use(o.wire.db, func(db *sql.DB) { onlyHere = how.hasStandby(ctx, Pool{db}) })
	if !onlyHere {
		return nil
	}
	return fmt.Errorf("%w: %w", nogap.ErrOutcomeUnknown, errOnlyHere)
}

func hasStandbyPostgres(ctx context.Context, beside Pool) bool {
	var names string
	err := beside.Read(ctx, "SELECT current_setting('synchronous_standby_names')", nil, &names)
	return err != nil || names != ""
}

// hasStandbyMySQL asks about the semi-synchronous replication, whose wait MariaDB ends when the statement is killed, and MySQL
// does not.
func hasStandbyMySQL(ctx context.Context, beside Pool) bool {
	var name, value string
	err := beside.Read(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name = 'rpl_semi_sync_master_enabled' AND Value = 'ON'", nil, &name, &value)
	return !errors.Is(err, sql.ErrNoRows)
}
