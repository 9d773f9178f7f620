// Package rowkey names rows by the values of their keys, so that the calls of one program that are about the same row
// find each other.
package rowkey

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// Text returns a text that is the same for the keys of two rows only if they are one row, in every process alike: each
// value as the driver would send it, so an int and an int64 are the same, and no text can look like two values. The
// opposite need not hold: a database that ignores case has one row for two texts.
//
// Texts are ordered as the values are, numbers by size and strings by their bytes, so they make an order of locks, and
// usually the one of ORDER BY. The encoding is that of FoundationDB's tuple layer in principle:
// https://github.com/apple/foundationdb/blob/main/design/tuple.md
//
// If a value has a type that only its driver knows, such as pgx's [16]byte for a UUID, exact is false: the text shows it
// in Go's syntax, and two rows might share it.
func Text(key []any) (text string, exact bool) {
	b, exact := Append(nil, key)
	return string(b), exact
}

// Append is Text for those who have the memory already.
func Append(b []byte, key []any) (_ []byte, exact bool) {
	exact = true
	for _, v := range key {
		var ok bool
		b, ok = appendValue(b, v)
		exact = exact && ok
	}
	return b, exact
}

// IsNull reports whether the driver would send NULL for the value, which equals nothing.
func IsNull(v any) bool {
	plain, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil { // a type that only the driver knows
		r := reflect.ValueOf(v)
		return (r.Kind() == reflect.Slice || r.Kind() == reflect.Map) && r.IsNil()
	}
	b, isBytes := plain.([]byte)
	return plain == nil || isBytes && b == nil
}

// The tags of the types, in the order of their values. A uint64 that is no int64 comes behind every int64.
const (
	tagNull byte = iota + 1
	tagBool
	tagInt
	tagUint
	tagFloat
	tagString
	tagBytes
	tagTime
	tagOther
)

func appendValue(b []byte, v any) (_ []byte, exact bool) {
	rv := reflect.ValueOf(v)
	if _, ok := v.(driver.Valuer); !ok && rv.CanUint() && rv.Uint() > math.MaxInt64 { // which the converter refuses
		return binary.BigEndian.AppendUint64(append(b, tagUint), rv.Uint()), true
	}
	plain, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil {
		return appendString(append(b, tagOther), fmt.Sprintf("%#v", v)), false
	}
	switch p := plain.(type) {
	case nil:
		return append(b, tagNull), true
	case bool:
		if p {
			return append(b, tagBool, 1), true
		}
		return append(b, tagBool, 0), true
	case int64:
		return appendInt(append(b, tagInt), p), true
	case float64:
		return appendFloat(append(b, tagFloat), p), true
	case string:
		return appendString(append(b, tagString), p), true
	case []byte:
		return appendString(append(b, tagBytes), string(p)), true
	case time.Time:
		// Not the instant alone: in a column without a time zone the servers keep what the clock showed.
		_, offset := p.Zone()
		b = appendInt(append(b, tagTime), p.Unix())
		return appendInt(appendInt(b, int64(p.Nanosecond())), int64(offset)), true
	}
	return appendString(append(b, tagOther), fmt.Sprintf("%#v", plain)), false
}

func appendInt(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(n)^1<<63)
}

// appendFloat turns the bits of negative numbers round, which are ordered the other way.
func appendFloat(b []byte, f float64) []byte {
	bits := math.Float64bits(f)
	if bits>>63 == 1 {
		return binary.BigEndian.AppendUint64(b, ^bits)
	}
	return binary.BigEndian.AppendUint64(b, bits|1<<63)
}

// appendString ends the string with a zero, which in the string itself is followed by 0xff.
func appendString(b []byte, s string) []byte {
	return append(append(b, strings.ReplaceAll(s, "\x00", "\x00\xff")...), 0)
}
