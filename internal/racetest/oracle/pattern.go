package oracle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// class is how the values of a column are compared.
type class int

const (
	literal  class = iota // by value
	volatile              // by which cells have the same value, except for the values that all runs have
	present               // NULL or not
	ignored
)

// place is a column of a table.
type place struct{ table, column string }

// pattern says what counts of an end. It is learnt from several runs of the same order.
type pattern struct {
	classes map[place]class
	fixed   map[place]map[string]bool // values of a volatile column that are compared as they are
	group   map[place]place           // volatile columns that share their values
}

// learn returns the pattern of the ends of equal runs. before is the state before the first client.
func learn(ends []End, before []Table, now time.Time) pattern {
	p := pattern{classes: map[place]class{}, fixed: map[place]map[string]bool{}, group: map[place]place{}}
	columns := map[place][]column{} // of each end
	var places []place
	for i, e := range ends {
		for _, t := range e.all() {
			for k, c := range t.Columns {
				at := place{t.Name, c.Name}
				if columns[at] == nil {
					columns[at] = make([]column, len(ends))
					places = append(places, at)
				}
				columns[at][i] = readColumn(t, k, now)
				switch {
				case c.Ignored:
					p.classes[at] = ignored
				case c.Time || columns[at][i].clock:
					p.classes[at] = max(p.classes[at], present)
				}
			}
		}
	}
	old := map[place]column{}
	for _, t := range before {
		for k, c := range t.Columns {
			old[place{t.Name, c.Name}] = readColumn(t, k, now)
		}
	}
	generated := p.volatileColumns(places, columns, old, ends)
	p.link(places, columns, generated)
	p.references(places, generated, columns, old)
	return p
}

// column is what a column holds.
type column struct {
	values map[string]int
	clock  bool
}

func readColumn(t Table, k int, now time.Time) column {
	c := column{values: map[string]int{}}
	for _, row := range t.Rows {
		if s, ok := text(row[k]); ok {
			c.values[s]++
			c.clock = c.clock || clock(row[k], now)
		}
	}
	return c
}

// volatileColumns finds the columns that differ between the runs, and returns those whose values the server makes without that they could be
// moved on.
func (p *pattern) volatileColumns(places []place, columns map[place][]column, old map[place]column, ends []End) (generated []place) {
	made := map[place]bool{}
	for _, t := range ends[0].Tables {
		for _, c := range t.Columns {
			made[place{t.Name, c.Name}] = c.Generated
		}
	}
	for _, at := range places {
		if p.classes[at] != literal {
			continue
		}
		runs := columns[at]
		same := !slices.ContainsFunc(runs[1:], func(c column) bool { return !equalCounts(c.values, runs[0].values) })
		if same && !made[at] {
			continue
		}
		p.classes[at] = volatile
		p.fixed[at] = map[string]bool{}
		for v := range runs[0].values {
			everywhere := !slices.ContainsFunc(runs[1:], func(c column) bool { return c.values[v] == 0 })
			if everywhere && (!made[at] || old[at].values[v] > 0) {
				p.fixed[at][v] = true
			}
		}
		if same {
			generated = append(generated, at)
		}
	}
	return generated
}

func equalCounts(a, b map[string]int) bool {
	if len(a) != len(b) {
		return false
	}
	for v, n := range a {
		if b[v] != n {
			return false
		}
	}
	return true
}

// link joins volatile columns that have a value in common in every run: keys, and what refers to them. Two columns of numbers that can't be
// moved on have the same ones by chance.
func (p *pattern) link(places []place, columns map[place][]column, generated []place) {
	var volatiles []place
	for _, at := range places {
		if p.classes[at] == volatile {
			p.group[at] = at
			volatiles = append(volatiles, at)
		}
	}
	for i, a := range volatiles {
		for _, b := range volatiles[:i] {
			if slices.Contains(generated, a) && slices.Contains(generated, b) {
				continue
			}
			shared := 0
			for run := range columns[a] {
				for v := range columns[a][run].values {
					if !p.fixed[a][v] && columns[b][run].values[v] > 0 && !p.fixed[b][v] {
						shared++
						break
					}
				}
			}
			if shared == len(columns[a]) {
				p.join(a, b)
			}
		}
	}
}

func (p *pattern) join(a, b place) {
	from, to := p.group[a], p.group[b]
	for at, g := range p.group {
		if g == from {
			p.group[at] = to
		}
	}
}

// references finds the columns that refer to numbers which can't be moved on: all of their new values are such numbers. If those of
// several columns are, nobody knows to which of them the column refers. Neither does anybody of a text that is made of them: ORD-7.
func (p *pattern) references(places, generated []place, columns map[place][]column, old map[place]column) {
	for _, at := range places {
		if p.classes[at] != literal {
			continue
		}
		fixed := map[string]bool{}
		var to []place
		made := false
		for _, g := range generated {
			is := refers(columns[at], columns[g], old[at], p.fixed[g], func(v string) []string { return []string{v} })
			of := !is && refers(columns[at], columns[g], old[at], p.fixed[g], numbersIn)
			made = made || of
			if is {
				to = append(to, g)
			}
			if is || of {
				for v := range columns[at][0].values {
					if old[at].values[v] > 0 || p.fixed[g][v] {
						fixed[v] = true
					}
				}
			}
		}
		if len(to) == 0 && !made {
			continue
		}
		p.classes[at], p.fixed[at], p.group[at] = volatile, fixed, at
		if len(to) == 1 {
			p.group[at] = p.group[to[0]]
		}
	}
}

// refers reports whether each new value of a column has a new number of another one among its parts, in every run.
func refers(runs, to []column, old column, fixed map[string]bool, parts func(string) []string) bool {
	found := 0
	for i := range runs {
		for v := range runs[i].values {
			if old.values[v] > 0 {
				continue
			}
			if !slices.ContainsFunc(parts(v), func(part string) bool { return to[i].values[part] > 0 && !fixed[part] }) {
				return false
			}
			found++
		}
	}
	return found > 0
}

// numbersIn returns the runs of digits in a text.
func numbersIn(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsDigit(r) })
}

// all returns the tables of the state, and what the clients read.
func (e End) all() []Table { return append(slices.Clip(e.Tables), e.Read...) }

// label is one volatile value.
type label struct {
	color string
	in    []occurrence
}

type occurrence struct {
	at  place
	row int
}

// shape is an end as its pattern sees it.
type shape struct {
	colors []string // of each row
	starts []string // what does not change of them
	labels map[place]map[string]*label
	rows   [][]*label // of each row, in the order of the columns
}

// digest returns a text that two ends share if the pattern can't tell them apart. Its rounds are those of colour refinement
// (Weisfeiler, Leman, 1968): a row has the colour of its volatile values, which have the colours of the rows that they stand in.
func (p pattern) digest(e End, left []bool) string {
	s := p.shape(e)
	distinct := -1
	for {
		s.refine()
		n := s.distinct()
		if n <= distinct {
			break
		}
		distinct = n
	}
	colors := slices.Sorted(slices.Values(s.colors))
	for _, t := range e.Tables {
		colors = append(colors, "table "+t.Name)
	}
	for i, err := range e.Errs {
		if e.Ran[i] && !left[i] {
			colors = append(colors, fmt.Sprintf("client %d %s", i, Kind(err)))
		}
	}
	return hash(strings.Join(colors, "\n"))
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:12])
}

func (p pattern) shape(e End) *shape {
	s := &shape{labels: map[place]map[string]*label{}}
	for _, t := range e.all() {
		for _, row := range t.Rows {
			var b strings.Builder
			fmt.Fprintf(&b, "%q", t.Name)
			var labels []*label
			for k, c := range t.Columns {
				at := place{t.Name, c.Name}
				cell, l := p.cell(s, at, row[k])
				b.WriteString(" " + cell)
				if l != nil {
					l.in = append(l.in, occurrence{at, len(s.rows)})
					labels = append(labels, l)
				}
			}
			s.rows = append(s.rows, labels)
			s.starts = append(s.starts, b.String())
		}
	}
	s.colors = slices.Clone(s.starts)
	return s
}

// cell returns what counts of a value, and its label if that is which other cells have it.
func (p pattern) cell(s *shape, at place, v any) (string, *label) {
	shown, ok := text(v)
	switch class := p.classes[at]; {
	case class == ignored:
		return "-", nil
	case !ok:
		return "null", nil
	case class == present:
		return "time", nil
	case class == literal || p.fixed[at][shown]:
		return fmt.Sprintf("%q", shown), nil
	}
	group := p.group[at]
	if s.labels[group] == nil {
		s.labels[group] = map[string]*label{}
	}
	l := s.labels[group][shown]
	if l == nil {
		l = &label{}
		s.labels[group][shown] = l
	}
	return "new", l
}

func (s *shape) refine() {
	for _, group := range s.labels {
		for _, l := range group {
			var in []string
			for _, o := range l.in {
				in = append(in, fmt.Sprintf("%q %q %s", o.at.table, o.at.column, s.colors[o.row]))
			}
			slices.Sort(in)
			l.color = hash(strings.Join(in, "\n"))
		}
	}
	for i, labels := range s.rows {
		color := s.starts[i]
		for _, l := range labels {
			color += " " + l.color
		}
		s.colors[i] = hash(color)
	}
}

func (s *shape) distinct() int {
	return len(slices.CompactFunc(slices.Sorted(slices.Values(s.colors)), func(a, b string) bool { return cmp.Compare(a, b) == 0 }))
}
