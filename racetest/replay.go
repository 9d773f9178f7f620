package racetest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// calls counts the calls of Explore and MustFail of each test that runs, by its name.
var calls = struct {
	sync.Mutex
	of map[string]int
}{of: map[string]int{}}

// callOf returns which call of its test this is, from 1. A T that does not say when it ends has first calls only.
func callOf(t T) int {
	c, ok := t.(interface{ Cleanup(func()) })
	if !ok {
		return 1
	}
	name := t.Name()
	calls.Lock()
	defer calls.Unlock()
	calls.of[name]++
	if calls.of[name] == 1 {
		c.Cleanup(func() {
			calls.Lock()
			defer calls.Unlock()
			delete(calls.of, name)
		})
	}
	return calls.of[name]
}

// wanted is a schedule that RACETEST_REPLAY names, and which call of a test is to play it.
type wanted struct {
	call     int
	schedule Schedule
}

// fromEnvironment reads RACETEST_REPLAY: a schedule, with "#2" before it for the second call of a test. The schedule is empty without it.
func fromEnvironment() (wanted, error) {
	value := strings.TrimSpace(os.Getenv("RACETEST_REPLAY"))
	if !strings.HasPrefix(value, "#") {
		return wanted{1, Schedule(value)}, nil
	}
	number, schedule, _ := strings.Cut(value[1:], " ")
	call, err := strconv.Atoi(number)
	if err != nil || call < 1 {
		return wanted{}, fmt.Errorf("RACETEST_REPLAY: after # comes which call of Explore or MustFail in its test is to play it, from 1, not %q", number)
	}
	if strings.TrimSpace(schedule) == "" {
		return wanted{}, fmt.Errorf("RACETEST_REPLAY: %q has no schedule after the number", value)
	}
	return wanted{call, Schedule(schedule)}, nil
}
