//go:build unix

package outcome_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/atomic"
	"github.com/nogap-go/nogap/integration/faultproxy"
	"github.com/nogap-go/nogap/integration/leak"
	"github.com/nogap-go/nogap/integration/matrix"
	"github.com/nogap-go/nogap/transaction"
)

// moments are where a network begins to swallow everything.
var moments = []struct {
	name, statement string
}{
	{"connect", ""},
	{"BEGIN", ""}, // each driver has its own word for it
	{"statement of a callback", "UPDATE items"},
	{"COMMIT", "COMMIT"},
	{"autocommit", "UPDATE "},
}

// A network that swallows everything holds nobody up for long after the context has ended, and no connection of the pool stays in
// use, while the network is still the same. lib/pq does not look at a context while it waits for an answer: nogap ends that, but
// not a new connection, for which lib/pq has its connect_timeout.
func TestBlackhole(t *testing.T) {
	t.Parallel()
	for _, moment := range moments {
		t.Run(moment.name, func(t *testing.T) {
			each(t, matrix.Proxied(), func(t *testing.T, target matrix.Target) {
				blackhole(t, target, moment.name, moment.statement)
			})
		})
	}
}

func blackhole(t *testing.T, target matrix.Target, moment, statement string) {
	dsn := target.DSN(t)
	proxy, through := target.Proxy(t, dsn)
	if target.Driver == "postgres" { // what lib/pq needs so as not to wait for ever for a new connection
		u, err := url.Parse(through)
		require.NoError(t, err)
		query := u.Query()
		query.Set("connect_timeout", "1")
		u.RawQuery = query.Encode()
		through = u.String()
	}
	direct, db := target.Connect(t, dsn), target.Connect(t, through)
	defer proxy.Cut() // before the pool is closed, for which the driver of PostgreSQL says goodbye
	execute(t, direct, "CREATE TABLE items (id INT PRIMARY KEY, stock INT NOT NULL)")
	execute(t, direct, "INSERT INTO items VALUES (1, 100)")
	stock, err := atomic.NewCounter[int](db, "items", "stock")
	require.NoError(t, err)
	_, err = stock.Decrement(t.Context(), 1, 1)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var struck <-chan struct{}
	switch moment {
	case "connect":
		db.SetMaxIdleConns(-1)
		proxy.Hang()
		time.AfterFunc(50*time.Millisecond, cancel)
	case "BEGIN":
		struck = proxy.HoldRequest(func(r faultproxy.Request) bool {
			return faultproxy.Executes("BEGIN")(r) || faultproxy.Executes("START TRANSACTION")(r)
		}).Done()
	default:
		struck = proxy.HoldReply(faultproxy.Executes(statement)).Done()
	}
	returned := make(chan error, 1)
	go func() {
		if moment == "autocommit" {
			_, err := stock.Decrement(ctx, 1, 1)
			returned <- err
			return
		}
		returned <- transaction.Run(ctx, db, func(ctx context.Context, tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE items SET stock = stock - 1")
			return err
		})
	}()
	if struck != nil {
		await(t, struck)
		proxy.Hang()
		cancel()
	}
	select {
	case err := <-returned:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(20 * time.Second): // the grace is one
		proxy.Cut()
		proxy.Pass()
		<-returned
		require.Fail(t, fmt.Sprint("the call hangs in ", moment))
	}
	leak.Connections(t, db)
}

func await(t *testing.T, struck <-chan struct{}) {
	t.Helper()
	select {
	case <-struck:
	case <-time.After(patience):
		require.Fail(t, "no request matched")
	}
}
