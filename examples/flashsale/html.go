package main

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The page, and Chart.js 4.6.1 from npm (chart.js, dist/chart.umd.min.js), which draws its charts. All of it is written
// into the report.
var (
	//go:embed report/page.gohtml
	pageHTML string
	//go:embed report/page.css
	pageCSS string
	//go:embed report/page.js
	pageJS string
	//go:embed report/chart.umd.min.js
	chartJS string

	page = template.Must(template.New("page").Parse(pageHTML))
)

// fewerBuyers are the other numbers of buyers for the curves of the report, the fewest first.
func fewerBuyers(buyers int) []int {
	sizes := []int{max(1, buyers/50), max(1, buyers/10), max(1, buyers*2/5)}
	return slices.DeleteFunc(slices.Compact(sizes), func(n int) bool { return n >= buyers })
}

// A told story is one with what came of it.
type told struct {
	story    *story
	outcomes []outcome
	advice   []string
}

// pageData is what the template needs. Numbers come as text, so that they look as in the table of the terminal.
type (
	pageData struct {
		Database, Setting string
		Flags, Repeats    string
		Stories           []pageStory
		CSS               template.CSS
		Library, JS       template.JS
		Data              []chartData
	}
	pageStory struct {
		Name, Scene, Column, Rest, SoldTitle string
		Sold                                 string // the numbers of its chart, in words
		Advice, Code                         string
		Rows                                 []pageRow
		Explanations                         []string
		BarsHeight                           int
		Race                                 *pageRace
		Sizes                                []string
		Curves                               []pageCurve
	}
	pageRow struct {
		Name, Verdict       string
		Sound               bool
		Sold, Rest          int64
		PerSecond, P50, P99 string
	}
	pageRace struct {
		Summary string
		Lanes   []pageLane
		Moments []pageMoment
	}
	pageLane struct {
		Buyer       string
		From, Width float64 // in per cent
	}
	pageMoment struct {
		At, Buyer, Does string
		Server          int
	}
	pageCurve struct {
		Title, Kind string
		Summary     string // of what it shows, in words
		Rows        []pageCells
	}
	pageCells struct {
		Name  string
		Cells []string
	}
)

// chartData is what the charts of a story need.
type (
	chartData struct {
		Stock      int64        `json:"stock"`
		Column     string       `json:"column"`
		Buyer      string       `json:"buyer"`
		Sizes      []int64      `json:"sizes"`
		Strategies []chartLines `json:"strategies"`
	}
	chartLines struct {
		Name  string    `json:"name"`
		Sold  int64     `json:"sold"`
		Rates []float64 `json:"rates"`
		Waits []float64 `json:"waits"`
	}
)

// writeHTML writes the report of the stories as one page that needs nothing else.
func writeHTML(w io.Writer, c config, stories []told, now time.Time) error {
	library, _, _ := strings.Cut(chartJS, "//# sourceMappingURL=") // a file that is not there
	d := pageData{
		Database: c.database.dialect.String(),
		Setting: fmt.Sprintf("%s on %s, program and servers on %s (%s). %s.", count(int64(c.servers), "API server"),
			c.database.dialect, count(int64(runtime.NumCPU()), "processor"), runtime.Version(), now.Format("2 January 2006")),
		Flags: c.given, Repeats: c.effort().repeats(),
		CSS: template.CSS(pageCSS), Library: template.JS(library), JS: template.JS(pageJS),
	}
	for _, t := range stories {
		d.Stories = append(d.Stories, newPageStory(t, c))
		d.Data = append(d.Data, newChartData(t))
	}
	return page.Execute(w, d)
}

func newPageStory(t told, c config) pageStory {
	words := t.story.words
	p := pageStory{
		Name:       t.story.name,
		Scene:      fmt.Sprintf(t.story.scene, c.buyers, c.stock),
		Column:     words.column,
		Rest:       words.rest,
		Code:       t.story.code(),
		SoldTitle:  strings.ToUpper(words.column[:1]) + words.column[1:] + " against what there is",
		Advice:     strings.Join(t.advice, " "),
		BarsHeight: 90 + 32*len(t.outcomes),
	}
	rate := pageCurve{Title: fmt.Sprintf("Throughput against the number of %ss", words.buyer), Kind: "rate"}
	waits := pageCurve{Title: fmt.Sprintf("What 99 %% of the %ss waited at most", words.buyer), Kind: "wait"}
	for _, o := range t.outcomes {
		p.Rows = append(p.Rows, pageRow{Name: o.Strategy, Verdict: o.verdict(), Sound: o.unsound() == nil,
			Sold: o.Sold, Rest: o.rest(), PerSecond: thousands(o.PerSecond), P50: wait(o.P50), P99: wait(o.P99)})
		if text := o.whatIsWrong(); text != "" {
			p.Explanations = append(p.Explanations, text)
		}
		if o.race != nil && p.Race == nil {
			p.Race = newPageRace(*o.race, &words)
		}
		r, w := pageCells{Name: o.Strategy}, pageCells{Name: o.Strategy}
		p.Sizes = nil
		for _, point := range o.points() {
			p.Sizes = append(p.Sizes, count(point.Buyers, words.buyer))
			r.Cells = append(r.Cells, thousands(point.PerSecond))
			w.Cells = append(w.Cells, wait(point.P99))
		}
		rate.Rows = append(rate.Rows, r)
		waits.Rows = append(waits.Rows, w)
	}
	for _, curve := range []*pageCurve{&rate, &waits} {
		curve.Summary = inWords(p.Sizes, curve.Rows)
	}
	rate.Summary += " Answers per second."
	p.Curves = []pageCurve{rate, waits}
	var sold []string
	for _, o := range t.outcomes {
		sold = append(sold, fmt.Sprintf("%s %d of %d", o.Strategy, o.Sold, o.Stock))
	}
	p.Sold = strings.Join(sold, ", ")
	return p
}

// inWords says where each line of a chart begins and ends.
func inWords(sizes []string, rows []pageCells) string {
	if len(sizes) == 0 {
		return ""
	}
	var lines []string
	for _, row := range rows {
		line := row.Name + " "
		if len(row.Cells) > 1 {
			line += row.Cells[0] + " to "
		}
		lines = append(lines, line+row.Cells[len(row.Cells)-1])
	}
	from := sizes[len(sizes)-1]
	if len(sizes) > 1 {
		from = "From " + sizes[0] + " to " + from
	} else {
		from = "With " + from
	}
	return from + ": " + strings.Join(lines, "; ") + "."
}

func newPageRace(r race, w *words) *pageRace {
	p := &pageRace{Summary: r.summary(w)}
	whole := float64(max(r.first.done.Sub(r.first.asked), r.second.done.Sub(r.first.asked), 1))
	for _, s := range []step{r.first, r.second} {
		from := s.asked.Sub(r.first.asked)
		p.Lanes = append(p.Lanes, pageLane{
			Buyer: fmt.Sprintf("%s %d", w.buyer, s.buyer),
			From:  100 * float64(from) / whole,
			Width: 100 * float64(s.done.Sub(s.asked)) / whole,
		})
	}
	for _, m := range r.timeline(w) {
		p.Moments = append(p.Moments, pageMoment{wait(milliseconds(m.at)), m.buyer, m.does, m.server})
	}
	return p
}

func newChartData(t told) chartData {
	d := chartData{Column: t.story.words.column, Buyer: t.story.words.buyer}
	for _, o := range t.outcomes {
		d.Stock = o.Stock
		d.Sizes = nil
		lines := chartLines{Name: o.Strategy, Sold: o.Sold}
		for _, point := range o.points() {
			d.Sizes = append(d.Sizes, point.Buyers)
			lines.Rates = append(lines.Rates, point.PerSecond)
			lines.Waits = append(lines.Waits, point.P99)
		}
		d.Strategies = append(d.Strategies, lines)
	}
	return d
}

// A newFile becomes the file of its name when it is complete. Until then a file that is there stays as it is.
type newFile struct {
	*os.File
	name string
}

// createFile shows at once whether the file can be written.
func createFile(name string) (*newFile, error) {
	name, err := filepath.Abs(name) // go run -C has another directory than the shell
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err // without the name of a file that nobody knows
		}
		return nil, fmt.Errorf("no file can be made in %s: %w", filepath.Dir(name), err)
	}
	temporary.add(f.Name())
	return &newFile{f, name}, nil
}

// remove closes the file and removes it if it is not complete.
func (f *newFile) remove() error {
	f.Close()
	return temporary.remove(f.Name())
}

// complete gives the file its name.
func (f *newFile) complete() error {
	if err := cmp.Or(f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), f.name)
}
