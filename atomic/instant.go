package atomic

import (
	"database/sql"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// instant is a time as a driver hands it out; NULL is one that never comes.
type instant struct {
	at       time.Time
	valid    bool
	typeless bool // it may be a text or a number: the column has no type that the driver could go by
}

// passed reports whether the instant has come.
func (i *instant) passed(now time.Time) bool { return i.valid && !now.Before(i.at) }

// Scan implements sql.Scanner.
func (i *instant) Scan(value any) (err error) {
	i.at, i.valid = time.Time{}, value != nil
	switch v := value.(type) {
	case nil:
	case time.Time:
		i.at = v
	case string:
		err = i.parse(v)
	case []byte:
		err = i.parse(string(v))
	case int64:
		err = i.count(v)
	default:
		err = fmt.Errorf("the expiry is no time: %T", value)
	}
	return err
}

// formats are those in which drivers of SQLite, and its own functions, write times.
var formats = []string{
	"2006-01-02 15:04:05.999999999Z07:00", // also of RFC 3339, whose T is replaced
	"2006-01-02 15:04:05.999999999",
	"2006-01-02 15:04:05.999999999 Z07:00",
	"2006-01-02 15:04:05.999999999 -0700 MST", // of time.Time.String
	"2006-01-02 15:04:05.999999999 -0700 -0700",
	"2006-01-02 15:04:05.999999999 -0700",
	"2006-01-02 15:04Z07:00",
	"2006-01-02 15:04",
	"2006-01-02",
}

func (i *instant) parse(text string) error {
	if !i.typeless {
		return fmt.Errorf("the driver hands out times as text: let it parse them, with parseTime=true in the DSN, for example")
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return i.count(n)
	}
	plain, _, _ := strings.Cut(text, " m=") // the monotonic clock, in what time.Time.String writes
	if len(plain) > len(time.DateOnly) && plain[len(time.DateOnly)] == 'T' {
		plain = plain[:len(time.DateOnly)] + " " + plain[len(time.DateOnly)+1:]
	}
	for _, format := range formats {
		if at, err := time.Parse(format, plain); err == nil { // without a zone it is UTC
			i.at = at
			return nil
		}
	}
	return fmt.Errorf("the expiry is no time: %q", text)
}

// count takes a number of seconds, milliseconds, microseconds or nanoseconds since 1970. Each of these units reaches from
// 1973, or before, to the year 5138 without meeting the next one.
func (i *instant) count(n int64) error {
	if !i.typeless {
		return fmt.Errorf("the expiry is no time: %d", n)
	}
	const most = 100_000_000_000
	switch {
	case n < most:
		i.at = time.Unix(n, 0)
	case n < most*1e3:
		i.at = time.UnixMilli(n)
	case n < most*1e6:
		i.at = time.UnixMicro(n)
	default:
		i.at = time.Unix(0, n)
	}
	return nil
}

// storeTime stores a time in a field of a row.
func storeTime(field reflect.Value, t time.Time) error {
	switch scanner, scans := field.Addr().Interface().(sql.Scanner); {
	case scans:
		return scanner.Scan(t)
	case field.Kind() == reflect.Pointer:
		inner := reflect.New(field.Type().Elem())
		field.Set(inner)
		return storeTime(inner.Elem(), t)
	case field.Type() == reflect.TypeFor[time.Time]():
		field.Set(reflect.ValueOf(t))
		return nil
	}
	return fmt.Errorf("a %v takes no time", field.Type())
}
