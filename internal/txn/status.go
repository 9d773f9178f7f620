package txn

import "reflect"

// transactionStatus is what the server has said last about the transaction of a connection, with every reply. To ask it would
// cost a round trip.
var transactionStatus = field{paths: map[string][]string{
	pgxConn:   {"conn.pgConn.txStatus"},
	pqConn:    {"txnStatus"},
	mysqlConn: {"status"},
}}

// notIdle knows PostgreSQL's ReadyForQuery: I, T or, for a transaction that has failed, E.
func notIdle(status uint64) bool { return status != 'I' }

// flagged knows MySQL's SERVER_STATUS_IN_TRANS.
func flagged(status uint64) bool { return status&1 != 0 }

// inTransaction reports whether a driver's connection is known to be in a transaction, or known not to be. Of most
// drivers neither is known: then both are false.
func inTransaction(driverConn any) (in, out bool) {
	status, ok := transactionStatus.of(driverConn)
	switch {
	case !ok:
		return false, false
	case status.Kind() == reflect.Uint8:
		in = notIdle(status.Uint())
	case status.Kind() == reflect.Uint16:
		in = flagged(status.Uint())
	default:
		return false, false
	}
	return in, !in
}

// inTransaction asks the driver; see there.
func (c *Conn) inTransaction() (in, out bool) {
	c.conn.Raw(func(driverConn any) error { // under the lock with which database/sql closes rows from another goroutine
		in, out = inTransaction(driverConn)
		return nil
	})
	return in, out
}
