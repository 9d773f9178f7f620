//go:build unix

package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
)

// chartScript is Chart.js, which the page of the flash sale has too. The path is seen from benchmarks.
const chartScript = "../examples/flashsale/report/chart.umd.min.js"

//go:embed charts.gohtml
var chartsPage string

var chartsTemplate = template.Must(template.New("charts").Parse(chartsPage))

// Chart is how the cost of some ways grows with a number.
type Chart struct {
	Title   string
	Axis    string // what the number is
	Results []contest.Result
	Point   func(contest.Result) int
}

// ChartScript reads the library that draws the charts.
func ChartScript() (string, error) {
	script, err := os.ReadFile(chartScript)
	if err != nil {
		return "", fmt.Errorf("-charts needs the script of the flash sale: run the command in the directory benchmarks of a checkout: %w", err)
	}
	return string(script), nil
}

// series is a line of a chart.
type series struct {
	Name   string  `json:"name"`
	Ours   bool    `json:"ours"`
	Points []point `json:"points"`
}

type point struct {
	X    int     `json:"x"`
	Rate float64 `json:"rate"` // calls per second
	P99  float64 `json:"p99"`  // milliseconds
}

type drawn struct {
	Title  string   `json:"title"`
	Axis   string   `json:"axis"`
	Series []series `json:"series"`
}

// Charts writes a page that needs nothing else. Without scripts it has the numbers in tables.
func (r Report) Charts(w io.Writer, script string, charts []Chart) error {
	var all []drawn
	for _, c := range charts {
		all = append(all, c.draw())
	}
	return chartsTemplate.Execute(w, map[string]any{
		"Machine": r.Machine.String(), "Plan": r.Plan, "Began": r.Began.UTC().Format(time.DateOnly), "Charts": all,
		"Script": template.JS(script),
	})
}

func (c Chart) draw() drawn {
	d := drawn{Title: c.Title, Axis: c.Axis}
	index := map[string]int{}
	for _, r := range c.Results {
		i, known := index[r.Way]
		if !known {
			i = len(d.Series)
			index[r.Way] = i
			d.Series = append(d.Series, series{Name: name(r), Ours: r.Kind == contest.Nogap})
		}
		s := &d.Series[i]
		s.Points = append(s.Points, point{c.Point(r), r.Rate.Median, float64(r.P99) / 1e6})
	}
	return d
}
