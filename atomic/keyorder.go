package atomic

import (
	"bytes"
	"cmp"
	"database/sql/driver"
	"fmt"
	"time"
)

// compareKeys orders keys in one way for all callers, which is all that an order of locks needs. Values are compared as
// the driver would send them, so an int and an int64 are the same key.
func compareKeys(a, b Key) int {
	for i := range min(len(a), len(b)) {
		if c := compareValues(plain(a[i]), plain(b[i])); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// plain returns the value as one of the six types of driver.Value, or as text if it can't be one.
func plain(v any) any {
	p, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return p
}

func compareValues(a, b any) int {
	if ra, rb := rank(a), rank(b); ra != rb {
		return cmp.Compare(ra, rb)
	}
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case string:
		return cmp.Compare(a, b.(string))
	case []byte:
		return bytes.Compare(a, b.([]byte))
	case time.Time:
		return a.Compare(b.(time.Time))
	case bool:
		if a == b.(bool) {
			return 0
		} else if b.(bool) {
			return -1
		}
		return 1
	}
	return 0
}

// rank puts the types of driver.Value in an order.
func rank(v any) int {
	switch v.(type) {
	case nil:
		return 0
	case bool:
		return 1
	case int64:
		return 2
	case float64:
		return 3
	case string:
		return 4
	case []byte:
		return 5
	}
	return 6 // time.Time
}
