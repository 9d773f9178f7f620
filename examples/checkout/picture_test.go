//go:build unix

package main

import (
	_ "embed"
	"flag"
	"fmt"
	"html/template"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	queries "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/stretchr/testify/require"
)

// CONTRIBUTING.md says how docs/dashboard.png is made with it.
var picture = flag.String("picture", "", "the HTML file to which TestDashboard writes what the dashboard shows of two minutes")

//go:embed testdata/dashboard.gohtml
var pageOfDashboard string

// A drawnPanel is a panel at its place in the grid, with the answers to its queries.
type (
	drawnPanel struct {
		Title, Unit string
		Grid        dashboard.GridPos
		Lines       []drawnLine
	}
	drawnLine struct {
		Name   string
		Points []*float64 // one a second; nil where there is none
	}
)

// drawDashboard writes a page that draws what Prometheus answers to the queries of the panels: for the last ten seconds, or
// for two minutes if a picture is wanted.
func drawDashboard(t *testing.T, prometheus string, panels []dashboard.PanelOrRowPanel) {
	t.Helper()
	path, shown := filepath.Join(t.TempDir(), "dashboard.html"), 10*time.Second
	if *picture != "" {
		path, shown = *picture, 2*time.Minute
		require.Eventually(t, func() bool { // the first rates look back at 10 s more
			numbers, err := instant(prometheus, `up{job="checkout"} offset 130s`)
			return err == nil && len(numbers) > 0
		}, 5*time.Minute, time.Second)
	}

	end := time.Now().Truncate(time.Second).Add(time.Second) // the first numbers may be younger than this second
	start := end.Add(-shown)
	var drawn []drawnPanel
	for _, p := range panels {
		d := drawnPanel{Title: *p.Panel.Title, Unit: *p.Panel.FieldConfig.Defaults.Unit, Grid: *p.Panel.GridPos}
		for _, target := range p.Panel.Targets {
			d.Lines = append(d.Lines, drawnLines(t, prometheus, target.(*queries.Dataquery), start, end)...)
		}
		require.NotEmpty(t, d.Lines, d.Title)
		drawn = append(drawn, d)
	}

	chart, err := os.ReadFile("../flashsale/report/chart.umd.min.js")
	require.NoError(t, err)
	page, err := os.Create(path)
	require.NoError(t, err)
	defer page.Close()
	require.NoError(t, template.Must(template.New("page").Parse(pageOfDashboard)).Execute(page, map[string]any{
		"Library": template.JS(chart), "Panels": drawn, "Start": start.Unix(), "End": end.Unix(),
	}))
	require.NoError(t, page.Close())
}

// drawnLines asks for what a query was from start to end, each second.
func drawnLines(t *testing.T, prometheus string, query *queries.Dataquery, start, end time.Time) (lines []drawnLine) {
	t.Helper()
	var series []struct {
		Metric map[string]string
		Values [][2]any
	}
	require.NoError(t, askPrometheus(prometheus+"/api/v1/query_range", url.Values{
		"query": {variables.Replace(query.Expr)}, "start": {fmt.Sprint(start.Unix())}, "end": {fmt.Sprint(end.Unix())}, "step": {"1"},
	}, &series))
	for _, s := range series {
		name := regexp.MustCompile(`{{(\w+)}}`).ReplaceAllStringFunc(*query.LegendFormat, func(label string) string {
			return s.Metric[label[2:len(label)-2]]
		})
		line := drawnLine{strings.Join(strings.Fields(name), " "), make([]*float64, end.Unix()-start.Unix()+1)}
		for _, value := range s.Values {
			n, err := strconv.ParseFloat(value[1].(string), 64)
			require.NoError(t, err)
			if !math.IsNaN(n) && !math.IsInf(n, 0) {
				line.Points[int64(value[0].(float64))-start.Unix()] = &n
			}
		}
		lines = append(lines, line)
	}
	return lines
}
