package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEachJobRunsOnce(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out, "", 5, 3, time.Second)) // a replica that is late for a tick must not meet the next one
	require.Equal(t, 3, strings.Count(out.String(), "ran the job"), out.String())
	require.Contains(t, out.String(), "5 replicas, 3 ticks: each job ran once")
	require.NotContains(t, out.String(), "failed")
}
