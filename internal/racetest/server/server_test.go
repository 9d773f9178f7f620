package server_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fakedb"
	"github.com/nogap-go/nogap/internal/racetest/server"
)

// A Scenario has no option WithDialect, so the error of a server that nogap does not know must not advise it.
func TestForeignServer(t *testing.T) {
	foreign := fakedb.New(func(context.Context, fakedb.Call) (fakedb.Reply, error) { return fakedb.Row("H2 2.3"), nil })
	_, err := server.Open(t.Context(), foreign)
	require.EqualError(t, err, `the server calls itself "H2 2.3" and can't be explored: only PostgreSQL, MySQL, MariaDB and SQLite can`)
}
