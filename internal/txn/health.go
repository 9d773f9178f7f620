package txn

import (
	"context"
	"database/sql"
	"sync/atomic"
	"time"

	"github.com/nogap-go/nogap/internal/perdb"
)

// probeTimeout bounds what is asked of a connection to see whether it is still in order.
const probeTimeout = 2 * time.Second

// suspicious is set once a connection of any pool has been found dead. Until then nobody has to look for suspects.
var suspicious atomic.Bool

// suspects counts, for each *sql.DB, the connections that are to be tried before they are used. A server that restarts
// ends all of them, and the first write on each would have an unknown outcome.
var suspects perdb.Map[atomic.Int64]

// suspectIdle suspects as many connections as are idle now, and so many more that are about to be.
func suspectIdle(db *sql.DB, more int) {
	suspects.Of(db, nil).Store(int64(db.Stats().Idle + more))
	suspicious.Store(true)
}

// suspected reports whether the next connection of db is to be tried, and counts it.
func suspected(db *sql.DB) bool {
	if !suspicious.Load() {
		return false
	}
	n := suspects.Of(db, nil)
	return n.Load() > 0 && n.Add(-1) >= 0
}

// connect takes a connection from the pool with take, and tries it while connections are suspected.
func connect(ctx context.Context, db *sql.DB, take func(context.Context) (*sql.Conn, error)) (*sql.Conn, error) {
	for {
		conn, err := take(ctx)
		if err != nil {
			return nil, JoinContext(ctx, explainBadConn(err))
		}
		if !suspected(db) {
			return conn, nil
		}
		c := &Conn{conn: conn, db: db}
		if c.alive(ctx) && !c.spoiled {
			return conn, nil
		}
		if err := ctx.Err(); err != nil { // which says nothing of the connection
			suspects.Of(db, nil).Add(1)
			c.Close()
			return nil, err
		}
		c.spoiled = true
		c.Close()
	}
}

// alive asks by SQL, since a driver, or a wrapper around it, may have no Ping: database/sql takes that for an answer.
func (c *Conn) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return c.bounded(ctx, func(ctx context.Context) error {
		var one int
		return c.conn.QueryRowContext(ctx, "SELECT 1").Scan(&one)
	}) == nil
}
