package effect

import (
	"fmt"
	"slices"
	"strings"
)

// Class returns the Foata normal form of an order of events: two orders have the same one if and only if one becomes the other by
// swapping neighbours that don't conflict. (Cartier, Foata: Problèmes combinatoires de commutation et réarrangements, 1969.)
func Class(events []Event) string {
	levels := make([]int, len(events))
	var layers [][]string
	for i, e := range events {
		level := 0
		for j := range i {
			if levels[j] >= level && Conflict(events[j], e) {
				level = levels[j] + 1
			}
		}
		levels[i] = level
		if level == len(layers) {
			layers = append(layers, nil)
		}
		layers[level] = append(layers[level], e.name())
	}
	var b strings.Builder
	for _, layer := range layers {
		slices.Sort(layer)
		b.WriteString(strings.Join(layer, " "))
		b.WriteByte('|')
	}
	return b.String()
}

func (e Event) name() string {
	phase := "d"
	if e.Done {
		phase = "c"
	}
	return fmt.Sprintf("%d.%d%s", e.Client, e.Step, phase)
}
