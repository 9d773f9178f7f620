package optimistic

import (
	"database/sql/driver"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/nogap-go/nogap/internal/fields"
)

// image is what some columns of an item hold, as a driver is given it. It stays as it is when the item changes, also
// where the item has pointers, slices or maps.
type image []driver.Value

// opaque is in an image for a value that only a driver understands, such as an array of PostgreSQL.
type opaque struct{}

func imageOf(columns []fields.Column, item reflect.Value) image {
	values := make(image, len(columns))
	for i, c := range columns {
		values[i] = sent(c.Get(item))
	}
	return values
}

// sent returns the value of a field as a driver is given it.
func sent(field any) driver.Value {
	v, err := driver.DefaultParameterConverter.ConvertValue(field)
	if err != nil {
		return opaque{}
	}
	switch v := v.(type) {
	case nil, int64, float64, bool, string, time.Time:
		return v
	case []byte:
		return slices.Clone(v)
	}
	return opaque{}
}

// shows reports whether the values of the same columns are those of the image. It is false in doubt.
func (i image) shows(values []any) bool {
	for n := range i {
		if !sentAlike(i[n], sent(values[n])) {
			return false
		}
	}
	return true
}

// differ reports whether two items differ in what is written of them. It is true in doubt.
func (m *mapping) differ(a, b reflect.Value) bool {
	return slices.ContainsFunc(m.data, func(c fields.Column) bool { return !sentAlike(sent(c.Get(a)), sent(c.Get(b))) })
}

func sentAlike(a, b driver.Value) bool {
	switch a := a.(type) {
	case opaque:
		return false
	case []byte: // nil is NULL
		b, ok := b.([]byte)
		return ok && (a == nil) == (b == nil) && slices.Equal(a, b)
	case float64: // minus zero is another value
		b, ok := b.(float64)
		return ok && math.Float64bits(a) == math.Float64bits(b)
	case time.Time: // a column without a time zone stores what the clock shows in the zone of the value
		b, ok := b.(time.Time)
		return ok && a.Equal(b) && sameZone(a, b)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}

func sameZone(a, b time.Time) bool {
	name, offset := a.Zone()
	name2, offset2 := b.Zone()
	return name == name2 && offset == offset2
}
