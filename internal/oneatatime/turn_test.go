package oneatatime_test

import (
	"context"
	"testing"
	"testing/synctest"

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

// Who has the turn and does not come back does not stop the others.
func TestNobodyHangsWithTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turn oneatatime.Turn
		_, err := turn.Take(t.Context())
		require.NoError(t, err)
		for range 3 {
			done, err := turn.Take(t.Context())
			require.NoError(t, err)
			done()
		}
	})
}
