package report_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/racetest/gate"
	"github.com/nogap-go/nogap/internal/racetest/play"
	"github.com/nogap-go/nogap/internal/racetest/report"
)

// Of a statement by which nogap looks at a table, a page long on PostgreSQL, the timeline shows that it is one.
func TestStatementOfALook(t *testing.T) {
	long := "WITH named AS (SELECT " + strings.Repeat("c.oid, ", 50) + "1) SELECT 1"
	step := func(text string) *play.Step {
		return &play.Step{Op: play.Op{Kind: gate.Query, Text: text, Args: []any{"items"}}}
	}
	require.Equal(t, "WITH … /* nogap looks once */ [items]", report.Statement(step(long+dialect.LookMark)))
	require.Equal(t, "SHOW CREATE TABLE `items` /* nogap looks once */ [items]", report.Statement(step("SHOW CREATE TABLE `items`"+dialect.LookMark)))
	require.Equal(t, long+" [items]", report.Statement(step(long)), "a statement of somebody else")
}
