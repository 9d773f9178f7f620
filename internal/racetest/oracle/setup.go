package oracle

import (
	"maps"
	"slices"
	"time"
)

// Unsteady is a column that has other values after each Setup. First and Then are a value of the first Setup and one of another, which only
// that one had.
type Unsteady struct{ Table, Column, First, Then string }

// SetupDiffers returns the columns that differ after two Setups, without times, what the server makes by itself, and what refers to that.
// Of their values it counts only which rows have the same one.
func SetupDiffers(first, then []Table) (columns []Unsteady) {
	now := time.Now()
	p := learn([]End{{Tables: first}, {Tables: then}}, nil, now)
	made := map[place]bool{} // groups of what the server makes
	for _, t := range first {
		for _, c := range t.Columns {
			if c.Made {
				made[p.group[place{t.Name, c.Name}]] = true
			}
		}
	}
	for i, t := range first {
		for k, c := range t.Columns {
			at := place{t.Name, c.Name}
			if p.classes[at] != volatile || made[p.group[at]] || i >= len(then) || k >= len(then[i].Columns) {
				continue
			}
			a, b := readColumn(t, k, now), readColumn(then[i], k, now)
			if !equalCounts(a.values, b.values) {
				columns = append(columns, Unsteady{t.Name, c.Name, only(a, b), only(b, a)})
			}
		}
	}
	return columns
}

// only returns the first value that one column has, and another one not as often.
func only(a, b column) string {
	for _, v := range slices.Sorted(maps.Keys(a.values)) {
		if a.values[v] != b.values[v] {
			return v
		}
	}
	return "NULL"
}
