//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/contest"
	"github.com/nogap-go/nogap/benchmarks/internal/places"
	"github.com/nogap-go/nogap/benchmarks/internal/report"
	"github.com/nogap-go/nogap/benchmarks/internal/scenarios"
)

// session is one run of the program.
type session struct {
	options
	report.Report
	host     *places.Host
	printer  report.Printer
	progress io.Writer
	charts   []report.Chart
	failed   []error // of contests that could not be held
}

// finish prints what is printed at the end.
func (s *session) finish(out io.Writer, script string) error {
	for _, line := range s.Missing {
		s.printer.Text(line)
	}
	s.printer.Text("This took " + s.Took + ".")
	if s.chartFile != "" {
		if err := s.draw(script); err != nil {
			return err
		}
	}
	if s.asJSON {
		return s.JSON(out)
	}
	return nil
}

// draw writes the page of charts.
func (s *session) draw(script string) error {
	page, err := os.Create(s.chartFile)
	if err != nil {
		return err
	}
	return errors.Join(s.Charts(page, script, s.charts), page.Close())
}

// quickPlaces are where -quick measures all scenarios. The first one it measures on every durable server.
var quickPlaces = map[string]bool{"postgres/durable": true, "redis/1": true, "redis/5": true}

// placesOf returns the places of a scenario.
func (o options) placesOf(sc contest.Scenario) (names []string) {
	for _, name := range sc.Places {
		switch {
		case o.inMemory && name != "sqlite/relaxed" && name != "redis/1":
		case o.quick && !o.inMemory && !quickPlaces[name] && sc.Name != "counter":
		case o.quick && !o.inMemory && places.Relaxed(name):
		default:
			names = append(names, name)
		}
	}
	return names
}

func (o options) points(c scenarios.Curve) []int {
	switch {
	case o.inMemory:
		return c.Quick[:1]
	case o.quick:
		return c.Quick
	default:
		return c.Points
	}
}

// tables measures the scenarios at several numbers of callers.
func (s *session) tables(ctx context.Context) error {
	for _, sc := range scenarios.All {
		titled := false
		for _, place := range s.placesOf(sc) {
			var results []contest.Result
			for _, callers := range s.callers {
				more, err := s.measure(ctx, sc, place, contest.Size{Callers: callers, Rows: scenarios.Rows(sc)}, "")
				if err != nil {
					return err
				}
				results = append(results, more...)
			}
			if len(results) == 0 {
				continue
			}
			if !titled {
				s.printer.Title(2, sc.Name)
				s.printer.Text(sc.Task)
				titled = true
			}
			s.printer.Title(3, sc.Name+" on "+place)
			s.printer.Table("callers", results, func(r contest.Result) int { return r.Callers })
		}
	}
	return nil
}

// curves measures how cost grows.
func (s *session) curves(ctx context.Context) error {
	for _, c := range scenarios.Curves {
		var results []contest.Result
		for _, point := range s.points(c) {
			more, err := s.measure(ctx, c.Limited(), s.curvePlace(c), c.Size(point), c.Name)
			if err != nil {
				return err
			}
			results = append(results, more...)
		}
		if len(results) == 0 {
			continue
		}
		s.printer.Title(2, c.Title)
		s.printer.Table(c.Axis, results, c.Point)
		s.charts = append(s.charts, report.Chart{Title: c.Title, Axis: c.Axis, Results: results, Point: c.Point})
	}
	return nil
}

// curvePlace returns where a curve is measured.
func (o options) curvePlace(c scenarios.Curve) string {
	if o.inMemory && places.SQLName(c.Place) {
		return "sqlite/relaxed"
	}
	return c.Place
}

// measure measures one scenario at one size, for a curve or for a table.
func (s *session) measure(
	ctx context.Context, sc contest.Scenario, name string, size contest.Size, curve string,
) ([]contest.Result, error) {
	plan := s.plan
	if curve != "" {
		plan.Prefix = curve + "/"
	}
	if !plan.Wants(sc, name, size) {
		return nil, nil
	}
	if s.quick && !s.inMemory && time.Since(s.Began) > quickly {
		s.leaveOut(plan.Prefix+sc.Name+"/"+name, errors.New("-quick has no time left"))
		return nil, nil
	}
	place, err := s.host.Place(name)
	if errors.Is(err, exec.ErrNotFound) {
		s.leaveOut(name, err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := s.host.NoEtcd(); err != nil {
		s.leaveOut("etcd", err)
	}
	fmt.Fprintf(s.progress, "%8s  %s%s\n", time.Since(s.Began).Round(time.Second), plan.Prefix, contest.FullName(sc.Name, name, size, ""))
	results, err := contest.Run(ctx, sc, place, size, plan)
	if ctx.Err() != nil {
		return nil, err
	}
	if err != nil { // the others are worth having
		s.failed = append(s.failed, fmt.Errorf("%s%s: %w", plan.Prefix, contest.FullName(sc.Name, name, size, ""), err))
		return nil, nil
	}
	for i := range results {
		results[i].Curve = curve
	}
	s.Results = append(s.Results, results...)
	return results, nil
}

// leaveOut says once that something is missing.
func (s *session) leaveOut(what string, why error) {
	line := fmt.Sprintf("%s is left out: %v.", what, why)
	for _, said := range s.Missing {
		if said == line {
			return
		}
	}
	s.Missing = append(s.Missing, line)
}

// names prints what -only is matched with.
func (s *session) names(out io.Writer) {
	list := func(prefix string, sc contest.Scenario, place string, size contest.Size) {
		for _, w := range sc.Ways {
			if name := prefix + contest.FullName(sc.Name, place, size, w.Name); s.plan.Only.MatchString(name) {
				fmt.Fprintln(out, name)
			}
		}
	}
	for _, sc := range scenarios.All {
		for _, place := range s.placesOf(sc) {
			for _, callers := range s.callers {
				list("", sc, place, contest.Size{Callers: callers, Rows: scenarios.Rows(sc)})
			}
		}
	}
	for _, c := range scenarios.Curves {
		for _, point := range s.points(c) {
			list(c.Name+"/", c.Limited(), c.Place, c.Size(point))
		}
	}
}
