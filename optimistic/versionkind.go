package optimistic

import (
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/nogap-go/nogap/internal/fields"
)

// versionKind is what the version column holds.
type versionKind int

const (
	// integerVersion is incremented by each write.
	integerVersion versionKind = iota
	// timestampVersion is the time of the last write, or a microsecond after the one before it, whichever is later.
	timestampVersion
	// tokenVersion is random, and so tells for certain whose write it is from.
	tokenVersion
	// xminVersion is the number of the transaction that wrote the row: PostgreSQL keeps it for every row by itself.
	xminVersion
)

// kindOf finds the kind of version that a field can hold.
func kindOf(c fields.Column) (versionKind, error) {
	t := base(c.Type)
	if c.Name.String() == "xmin" {
		switch t.Kind() {
		case reflect.Int64, reflect.Int, reflect.Uint32, reflect.Uint64, reflect.Uint, reflect.String:
			if t == c.Type && !fields.IsScalar(t) {
				return xminVersion, nil
			}
		}
		return 0, fmt.Errorf("the field for xmin is a %v; it can be a uint32, an int64 or a string", c.Type)
	}
	switch {
	case t == fields.TimeType:
		return timestampVersion, nil
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return integerVersion, nil
	case t.Kind() == reflect.String, t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return tokenVersion, nil
	case t.Kind() == reflect.Array && t.Elem().Kind() == reflect.Uint8 && t.Len() == tokenSize && fields.IsScalar(c.Type):
		return tokenVersion, nil
	}
	return 0, fmt.Errorf("the field for the version column %q is a %v; a version is an integer, a time.Time, a string, "+
		"a []byte or a UUID with Scan and Value methods", c.Name, c.Type)
}

// base looks through pointers and through the types that add NULL to another one, such as sql.NullInt64.
func base(t reflect.Type) reflect.Type {
	switch {
	case t.Kind() == reflect.Pointer:
		return base(t.Elem())
	case t.Kind() == reflect.Struct && t != fields.TimeType && fields.IsScalar(t) && t.NumField() > 0:
		if _, nullable := t.FieldByName("Valid"); nullable {
			return base(t.Field(0).Type)
		}
	}
	return t
}

// nullable reports whether the field can hold NULL.
func nullable(t reflect.Type) bool {
	return t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Struct && t != fields.TimeType
}

var int64Type = reflect.TypeFor[int64]()

const tokenSize = 16 // bytes, of a UUID and of a []byte

var errLastVersion = errors.New("the version is the highest that its field can hold")

// next returns the version after old, in a field of its own. It is made here and not by the server, because a server
// without RETURNING would have to be asked for it in a second statement.
func (k versionKind) next(t reflect.Type, old driver.Value) (reflect.Value, error) {
	if k == integerVersion {
		return nextInteger(t, old)
	}
	field := reflect.New(t).Elem()
	var err error
	switch k {
	case timestampVersion:
		now := time.Now().UTC()
		if last, ok := old.(time.Time); ok {
			// Clocks differ between machines and may be set back; the version of a row only ever grows. It stays in the
			// time zone that the driver reads in: a column without one is compared by what the clock shows there.
			// One that has nanoseconds, which no server stores, is rounded up, as a server may have done.
			if earliest := last.Add(2*time.Microsecond - 1).Truncate(time.Microsecond); now.Before(earliest) {
				now = earliest
			}
			now = now.In(last.Location())
		}
		err = assign(field, now.Truncate(time.Microsecond))
	case tokenVersion:
		err = assignToken(field)
	}
	return field, err
}

func nextInteger(t reflect.Type, old driver.Value) (reflect.Value, error) {
	n, ok := old.(int64) // after NULL comes 1
	switch {
	case !ok && old != nil:
		return reflect.Value{}, fmt.Errorf("a version of type %v is to be an integer, and its Value is a %T", t, old)
	case n == math.MaxInt64:
		return reflect.Value{}, errLastVersion
	}
	if t == int64Type {
		return reflect.ValueOf(n + 1), nil // the usual version, without the cost of reflection
	}
	field := reflect.New(t).Elem()
	return field, assign(field, n+1)
}

// assignToken stores a new UUID of version 4, as text where the field has room for text.
func assignToken(field reflect.Value) error {
	var id [tokenSize]byte
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	if base(field.Type()).Kind() == reflect.Slice {
		return assign(field, id[:])
	}
	text := fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	if assign(field, text) == nil {
		return nil
	}
	return assign(field, id[:]) // an array of 16 bytes that is written in another way, such as a ULID
}

// assign stores v, which is of the kind that the field was found to hold.
func assign(field reflect.Value, v driver.Value) error {
	if s, ok := field.Addr().Interface().(sql.Scanner); ok {
		return s.Scan(v)
	}
	switch k := field.Kind(); {
	case k == reflect.Pointer:
		field.Set(reflect.New(field.Type().Elem()))
		return assign(field.Elem(), v)
	case field.CanInt():
		if field.OverflowInt(v.(int64)) {
			return errLastVersion
		}
		field.SetInt(v.(int64))
	case field.CanUint():
		if field.OverflowUint(uint64(v.(int64))) {
			return errLastVersion
		}
		field.SetUint(uint64(v.(int64)))
	case k == reflect.String:
		field.SetString(v.(string))
	case k == reflect.Slice:
		field.SetBytes(v.([]byte))
	default:
		field.Set(reflect.ValueOf(v))
	}
	return nil
}

// driverValue returns what a version field holds as the driver is given it: an int64, a time.Time, a string, a []byte or
// nil.
func (k versionKind) driverValue(field any) (driver.Value, error) {
	v, err := driver.DefaultParameterConverter.ConvertValue(field)
	if err != nil {
		return nil, err
	}
	if text, ok := v.(string); ok && k == xminVersion {
		return strconv.ParseInt(text, 10, 64)
	}
	return v, nil
}

// equal reports whether two version fields hold the same version.
func (k versionKind) equal(a, b any) bool {
	x, err := k.driverValue(a)
	y, err2 := k.driverValue(b)
	return err == nil && err2 == nil && equalDriverValues(x, y)
}
