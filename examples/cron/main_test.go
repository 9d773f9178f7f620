package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEachJobRunsOnce(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out, "", 5, 4, 50*time.Millisecond))
	require.Equal(t, 4, strings.Count(out.String(), "ran the job"), out.String())
	require.Contains(t, out.String(), "5 replicas, 4 ticks: each job ran once")
	require.NotContains(t, out.String(), "failed")
}
