package oracle

import (
	"cmp"
	"slices"
	"strings"
)

// Difference is a place where an end is not what an order of whole clients ends with.
type Difference struct {
	// Client is whose error it is, or -1 if it is a table's.
	Client int
	Table  string
	// Row names the row by its cells that are as expected, such as "id 1".
	Row string
	// Column, Got and Want are those of a cell. If Column is empty, a whole row is there that should not be (Got), or is missing (Want).
	Column, Got, Want string
	// Everywhere reports whether all orders end with Want.
	Everywhere bool
}

// line is a row as it counts.
type line struct {
	cells []string // what counts of each cell
	shown []string
}

func (p pattern) lines(t Table) (all []line) {
	s := &shape{labels: map[place]map[string]*label{}}
	for _, row := range t.Rows {
		var l line
		for k, c := range t.Columns {
			cell, _ := p.cell(s, place{t.Name, c.Name}, row[k])
			shown, _ := text(row[k])
			l.cells, l.shown = append(l.cells, cell), append(l.shown, shown)
		}
		all = append(all, l)
	}
	return all
}

// differences returns how an end differs from the first end of the reference.
func (ref *reference) differences(end End) (all []Difference) {
	want := ref.ends[0]
	for _, t := range end.all() {
		i := slices.IndexFunc(want.all(), func(w Table) bool { return w.Name == t.Name })
		if i < 0 {
			all = append(all, Difference{Client: -1, Table: t.Name, Got: "the table itself"})
			continue
		}
		all = append(all, ref.pattern.rowsDiffer(t, want.all()[i])...)
	}
	for _, c := range ran(want) {
		if got, want := Kind(end.Errs[c]), Kind(want.Errs[c]); got != want {
			all = append(all, Difference{Client: c, Got: outcome(end.Errs[c]), Want: outcome(ref.ends[0].Errs[c])})
		}
	}
	return all
}

func outcome(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}

// rowsDiffer pairs the rows that are not alike by how many cells are, and returns what is not.
func (p pattern) rowsDiffer(got, want Table) (all []Difference) {
	extra, missing := unlike(p.lines(got), p.lines(want))
	type pair struct{ i, j, same int }
	var pairs []pair
	for i, g := range extra {
		for j, w := range missing {
			same := 0
			for k := range g.cells {
				if k < len(w.cells) && g.cells[k] == w.cells[k] && g.cells[k] != "null" {
					same++
				}
			}
			if same > 0 {
				pairs = append(pairs, pair{i, j, same})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.same, a.same) })
	usedGot, usedWant := map[int]bool{}, map[int]bool{}
	for _, pair := range pairs {
		if usedGot[pair.i] || usedWant[pair.j] {
			continue
		}
		usedGot[pair.i], usedWant[pair.j] = true, true
		g, w := extra[pair.i], missing[pair.j]
		row := p.rowName(got, g, w)
		for k := range g.cells {
			if g.cells[k] != w.cells[k] {
				all = append(all, Difference{Client: -1, Table: got.Name, Row: row, Column: got.Columns[k].Name, Got: g.shown[k], Want: w.shown[k]})
			}
		}
	}
	for i, g := range extra {
		if !usedGot[i] {
			all = append(all, Difference{Client: -1, Table: got.Name, Got: rowText(got, g)})
		}
	}
	for j, w := range missing {
		if !usedWant[j] {
			all = append(all, Difference{Client: -1, Table: got.Name, Want: rowText(want, w)})
		}
	}
	return all
}

// unlike returns the rows that have no equal on the other side.
func unlike(got, want []line) (extra, missing []line) {
	count := map[string]int{}
	key := func(l line) string { return strings.Join(l.cells, "\x00") }
	for _, w := range want {
		count[key(w)]++
	}
	for _, g := range got {
		if count[key(g)] > 0 {
			count[key(g)]--
			continue
		}
		extra = append(extra, g)
	}
	for _, w := range slices.Backward(want) {
		if count[key(w)] > 0 {
			count[key(w)]--
			missing = append(missing, w)
		}
	}
	return extra, missing
}

// rowName names a row by its first cell that is the same.
func (p pattern) rowName(t Table, g, w line) string {
	for k := range g.cells {
		if g.cells[k] == w.cells[k] && g.cells[k] != "null" && g.cells[k] != "time" && g.cells[k] != "-" {
			return t.Columns[k].Name + " " + g.shown[k]
		}
	}
	return ""
}

func rowText(t Table, l line) string {
	var cells []string
	for k, c := range t.Columns {
		cells = append(cells, c.Name+" "+l.shown[k])
	}
	return strings.Join(cells, ", ")
}

// everywhere marks the differences that the end has from all references alike.
func (o *Oracle) everywhere(all []Difference, end End, refs []*reference) {
	for i, d := range all {
		all[i].Everywhere = !slices.ContainsFunc(refs, func(ref *reference) bool { return !slices.Contains(ref.differences(end), d) })
	}
}
