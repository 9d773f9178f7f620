package dialect

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	errFloat = errors.New("a float may not equal itself when it is sent back")
	errTime  = errors.New("the server keeps a time as text, which a driver may have written in another way")
)

// Argument returns a value that a driver has read from a column, as an argument that equals the column. Some drivers read
// numbers and text as bytes, which as arguments are compared otherwise, without an index. columnType is the driver's name
// for the type of the column.
//
// What may not equal itself when it is sent back is an error: a condition that never holds looks like a row that is gone.
func (s Server) Argument(value any, columnType string) (any, error) {
	switch v := value.(type) {
	case float32, float64:
		return nil, errFloat
	case time.Time:
		if s.TypelessTimes {
			return nil, errTime
		}
	case []byte:
		switch {
		case v == nil, s.binaryTypes == "", slices.Contains(strings.Split(s.binaryTypes, "|"), columnType):
			return value, nil
		case columnType == s.bits && s.bits != "":
			return number(v), nil
		}
		return plain(string(v), columnType), nil
	}
	return value, nil
}

// plain returns the text of a value as an integer if its column has a type of integers.
func plain(text, columnType string) any {
	if !strings.Contains(columnType, "INT") {
		return text
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		return n
	}
	return text
}

func number(bytes []byte) (n uint64) {
	for _, b := range bytes {
		n = n<<8 | uint64(b)
	}
	return n
}
