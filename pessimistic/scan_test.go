package pessimistic_test

import (
	"context"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/pessimistic"
)

// bomb is a field whose Scan method panics.
type bomb struct{}

func (*bomb) Scan(any) error { panic("bomb") }

// database/sql holds a lock while it scans, which a panic leaves held. The panic goes on all the same.
func TestScanPanics(t *testing.T) {
	db := server(nil).DB()
	panicked := make(chan any)
	go func() {
		defer func() { panicked <- recover() }()
		pessimistic.WithRowLock(t.Context(), db, itemOne, func(context.Context, *sqlx.Tx, *struct {
			ID    bomb  `db:"id"`
			Stock int64 `db:"stock"`
		}) error {
			return nil
		}, asPostgres)
	}()
	select {
	case p := <-panicked:
		require.Equal(t, "bomb", p)
	case <-time.After(10 * time.Second):
		t.Fatal("the panic is stuck")
	}
}
