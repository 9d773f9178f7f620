// Package oracle judges how a schedule ended: it must have ended as some order of whole clients does.
//
// No invariant is needed for that. But two runs of the same clients don't end alike to the last cell: numbers that the server
// makes, clocks, random keys. Each order is therefore run twice, the second time with all sequences moved on. A value that differs is
// volatile: what counts of it is which cells have the same one. It is not masked with its whole column, or two rows that got the same
// new number would hide. Of a time only NULL or not NULL counts.
package oracle

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Column is a column of a table.
type Column struct {
	Name string
	Time bool // its type is one of dates and times
	// Generated: the server makes its values, and the numbers can't be moved on between two runs.
	Generated bool
	Ignored   bool
	Made      bool // the server makes its values: it counts them up, or they have a function as their default
}

// Table is a table as it was found.
type Table struct {
	Name    string
	Columns []Column
	Rows    [][]any // of the values that drivers give
}

// End is how a schedule ended.
type End struct {
	Tables []Table
	Ran    []bool  // which clients took part
	Errs   []error // of each client
	// Read are the results of each client's queries, if they count.
	Read []Table
}

// text returns a value for comparison and to show. ok is false for NULL.
func text(v any) (s string, ok bool) {
	switch v := v.(type) {
	case nil:
		return "NULL", false
	case []byte:
		if !utf8.Valid(v) {
			return "x" + hex.EncodeToString(v), true
		}
		return string(v), true
	case string:
		return v, true
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano), true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32), true
	}
	return fmt.Sprint(v), true
}

// nearNow is how far from the present a value may be to be taken for a reading of the clock.
const nearNow = 36 * time.Hour

// layouts are those in which a clock is written as text.
var layouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999-07:00", "2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05.999999999-07", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04", "2006-01-02", time.RFC1123, time.RFC1123Z}

// clock reports whether a value can be the time of day now: a time, its text, or a number of seconds or parts of them since 1970.
func clock(v any, now time.Time) bool {
	near := func(t time.Time) bool { return t.Sub(now).Abs() < nearNow }
	if t, ok := v.(time.Time); ok {
		return near(t)
	}
	s, ok := text(v)
	if !ok || len(s) < 10 || len(s) > 40 {
		return false
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		for _, unit := range []float64{1, 1e3, 1e6, 1e9} {
			if seconds := f / unit; seconds > 1e9 && seconds < 1e10 && near(time.Unix(int64(seconds), 0)) {
				return true
			}
		}
		return false
	}
	// time.Time.String, as a driver without a type for times stores it
	s, _, _ = strings.Cut(s, " m=")
	for _, layout := range append(layouts, "2006-01-02 15:04:05.999999999 -0700 MST") {
		if t, err := time.Parse(layout, s); err == nil && near(t) {
			return true
		}
	}
	return false
}

// Kind returns what counts of an error: its text without what is in quotes, and without the words that have a digit, which may be
// made by the server.
func Kind(err error) string {
	if err == nil {
		return ""
	}
	var b strings.Builder
	rest := err.Error()
	for rest != "" {
		r, size := utf8.DecodeRuneInString(rest)
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			n := strings.IndexFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '-' && r != '_' })
			if n < 0 {
				n = len(rest)
			}
			if strings.IndexFunc(rest[:n], unicode.IsDigit) >= 0 {
				b.WriteByte('#')
			} else {
				b.WriteString(rest[:n])
			}
			rest = rest[n:]
			continue
		case r == '"' || r == '\'' || r == '`':
			if n := strings.IndexRune(rest[size:], r); n >= 0 {
				b.WriteString("''")
				rest = rest[2*size+n:]
				continue
			}
		}
		b.WriteString(rest[:size])
		rest = rest[size:]
	}
	return "error: " + b.String()
}
