package rowkey

import (
	"database/sql/driver"
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// Values returns the values of a key that Text has made a text of, as the driver would send them. ok is false if one of
// them has a type that only its driver knows.
func Values(text string) (values []any, ok bool) {
	for text != "" {
		v, rest, ok := cutValue(text[0], text[1:])
		if !ok {
			return nil, false
		}
		values, text = append(values, v), rest
	}
	return values, true
}

func cutValue(tag byte, text string) (v any, rest string, ok bool) {
	switch tag {
	case tagNull:
		return nil, text, true
	case tagBool:
		if text == "" {
			return nil, "", false
		}
		return text[0] == 1, text[1:], true
	case tagInt:
		bits, rest, ok := cutBits(text)
		return int64(bits ^ 1<<63), rest, ok
	case tagUint:
		return firstOf(cutBits(text))
	case tagFloat:
		bits, rest, ok := cutBits(text)
		if bits>>63 == 1 {
			bits ^= 1 << 63
		} else {
			bits = ^bits
		}
		return math.Float64frombits(bits), rest, ok
	case tagString:
		return firstOf(cutString(text))
	case tagBytes:
		s, rest, ok := cutString(text)
		return []byte(s), rest, ok
	case tagTime:
		return cutTime(text)
	}
	return nil, "", false
}

func firstOf[T any](v T, rest string, ok bool) (any, string, bool) { return v, rest, ok }

func cutBits(text string) (bits uint64, rest string, ok bool) {
	if len(text) < 8 {
		return 0, "", false
	}
	return binary.BigEndian.Uint64([]byte(text[:8])), text[8:], true
}

// cutString ends at the first zero that no 0xff follows.
func cutString(text string) (s, rest string, ok bool) {
	for i := 0; i < len(text); i++ {
		if text[i] != 0 {
			continue
		}
		if i+1 < len(text) && text[i+1] == 0xff {
			i++
			continue
		}
		return strings.ReplaceAll(text[:i], "\x00\xff", "\x00"), text[i+1:], true
	}
	return "", "", false
}

func cutTime(text string) (v any, rest string, ok bool) {
	var parts [3]int64 // seconds, nanoseconds, offset
	for i := range parts {
		var bits uint64
		if bits, text, ok = cutBits(text); !ok {
			return nil, "", false
		}
		parts[i] = int64(bits ^ 1<<63)
	}
	return time.Unix(parts[0], parts[1]).In(time.FixedZone("", int(parts[2]))), text, true
}

// Apart reports whether two keys of the same columns are surely of two rows, because they have different integers for one of
// the columns, of which each has one spelling. Of other values only the server knows.
func Apart(a, b []any) bool {
	for i := range min(len(a), len(b)) {
		x, isInt := integer(a[i])
		if y, too := integer(b[i]); isInt && too && x != y {
			return true
		}
	}
	return false
}

func integer(v any) (n int64, ok bool) {
	plain, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil {
		return 0, false
	}
	n, ok = plain.(int64)
	return n, ok
}
