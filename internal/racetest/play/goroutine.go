package play

import (
	"bytes"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// goroutineID returns the number of the calling goroutine, as stack traces have it.
func goroutineID() int64 {
	var buf [64]byte
	n := runtime.Stack(buf[:], false)
	id, _, _ := goroutineHeader(buf[:n])
	return id
}

// goroutineHeader reads "goroutine 7 [chan receive, 2 minutes]:".
func goroutineHeader(line []byte) (id int64, state string, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("goroutine "))
	if !ok {
		return 0, "", false
	}
	number, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return 0, "", false
	}
	id, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return 0, "", false
	}
	_, rest, _ = bytes.Cut(rest, []byte("["))
	inside, _, _ := bytes.Cut(rest, []byte("]"))
	state, _, _ = strings.Cut(string(inside), ",")
	return id, state, true
}

// stackOf returns the stack of a goroutine, which is empty if it has ended.
func stackOf(id int64) string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	prefix := "goroutine " + strconv.FormatInt(id, 10) + " "
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.HasPrefix(stack, prefix) {
			return stack
		}
	}
	return ""
}

// pause is how a goroutine waits.
type pause int

const (
	computing pause = iota // it runs, or waits for the system
	asleep                 // it waits for a time
	forOther               // it waits for another goroutine alone
	forEither
)

// sleeps are functions whose callers wait for a time, though their state does not say so.
var sleeps = []string{"\ngithub.com/nogap-go/nogap/internal/backoff.Sleep("}

// pauseOf returns how the goroutine of a stack waits, and its state.
func pauseOf(stack string) (pause, string) {
	_, state, _ := goroutineHeader([]byte(stack))
	switch {
	case state == "sleep", slices.ContainsFunc(sleeps, func(s string) bool { return strings.Contains(stack, s) }):
		return asleep, state
	case strings.HasPrefix(state, "sync."), strings.HasPrefix(state, "semacquire"):
		return forOther, state
	case strings.HasPrefix(state, "chan "), strings.HasPrefix(state, "select"):
		return forEither, state
	}
	return computing, state
}
