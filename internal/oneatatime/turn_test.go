package oneatatime_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/oneatatime"
)

func TestTurn(t *testing.T) {
	var turn oneatatime.Turn
	done, err := turn.Take(t.Context())
	require.NoError(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = turn.Take(ended)
	require.ErrorIs(t, err, context.Canceled)

	next := make(chan error)
	go func() {
		done, err := turn.Take(context.Background())
		if err == nil {
			done()
		}
		next <- err
	}()
	select {
	case <-next:
		t.Fatal("two have the turn")
	default:
	}
	done()
	require.NoError(t, <-next)
}
