// Package rowkey names rows by the values of their keys, so that the calls of one program that are about the same row
// find each other.
package rowkey

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"time"
)

// Text returns a text that is the same for the keys of two rows only if they are one row, in every process alike: each
// value as the driver would send it, so an int and an int64 are the same, and no text can look like two values. The
// opposite need not hold: a database that ignores case has one row for two texts.
//
// It makes an order of locks as well, since any one that all callers share will do.
//
// If a value has a type that only its driver knows, such as pgx's [16]byte for a UUID, exact is false: the text shows it
// as fmt does, and two rows may share it.
func Text(key []any) (text string, exact bool) {
	var b []byte
	exact = true
	for _, v := range key {
		var ok bool
		b, ok = appendValue(b, v)
		exact = exact && ok
	}
	return string(b), exact
}

// IsNull reports whether the driver would send NULL for the value, which equals nothing.
func IsNull(v any) bool {
	plain, err := driver.DefaultParameterConverter.ConvertValue(v)
	return err == nil && plain == nil
}

func appendValue(b []byte, v any) (_ []byte, exact bool) {
	rv := reflect.ValueOf(v)
	if _, ok := v.(driver.Valuer); !ok && rv.CanUint() { // the converter refuses the upper half of uint64
		return binary.BigEndian.AppendUint64(append(b, tagOf(rv.Uint())), rv.Uint()), true
	}
	plain, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil {
		return appendText(append(b, '?'), fmt.Sprintf("%T %v", v, v)), false
	}
	switch p := plain.(type) {
	case nil:
		return append(b, '0'), true
	case bool:
		if p {
			return append(b, 'b', 1), true
		}
		return append(b, 'b', 0), true
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 'i'), uint64(p)), true
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(p)), true
	case string:
		return appendText(append(b, 's'), p), true
	case []byte:
		return appendText(append(b, 'x'), string(p)), true
	case time.Time:
		// Not the instant alone: in a column without a time zone the servers keep what the clock showed.
		if t, err := p.AppendBinary(append(b, 't')); err == nil {
			return t, true
		}
	}
	return appendText(append(b, '?'), fmt.Sprintf("%T %v", plain, plain)), false
}

// tagOf tells a uint64 that no int64 can hold from a negative int64 with the same bits.
func tagOf(u uint64) byte {
	if u > math.MaxInt64 {
		return 'u'
	}
	return 'i'
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}
