package racetest

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"slices"

	"github.com/nogap-go/nogap/internal/racetest/explore"
)

// Schedule is an order of steps: "alice:2 bob:4 alice:2" is two steps of alice, four of bob, and two of alice. After
// its last step each client runs to its end. If a client can't go on, because it waits for a lock, the next one goes
// on. Characters of a client's name that would be ambiguous are escaped as in a URL.
type Schedule string

// segments reads a schedule.
func (s Schedule) segments(clients []string) (segments []explore.Segment, err error) {
	for _, field := range strings.Fields(string(s)) {
		escaped, number, _ := strings.Cut(field, ":")
		name, err := url.QueryUnescape(escaped)
		if err != nil {
			return nil, fmt.Errorf("the schedule %q: %w", s, err)
		}
		client := slices.Index(clients, name)
		if client < 0 {
			return nil, fmt.Errorf("the schedule %q names a client %q, which there is not", s, name)
		}
		steps, err := strconv.Atoi(number)
		if err != nil || steps < 1 {
			return nil, fmt.Errorf("in the schedule %q, %q must be a client, a colon and how many steps", s, field)
		}
		segments = append(segments, explore.Segment{Client: client, Steps: steps})
	}
	return segments, nil
}
