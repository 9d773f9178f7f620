package optimistic

import (
	"bytes"
	"database/sql/driver"
	"reflect"
	"slices"
	"time"
)

// cloneValue makes a value independent of the struct that it is from, which a callback goes on to change.
func cloneValue(v any) any {
	switch v := v.(type) {
	case int64, string: // the usual ones, without the cost of reflection
		return v
	case []byte:
		return slices.Clone(v)
	}
	switch r := reflect.ValueOf(v); {
	case r.Kind() == reflect.Pointer && !r.IsNil():
		p := reflect.New(r.Type().Elem())
		p.Elem().Set(r.Elem())
		if inner := cloneValue(p.Elem().Interface()); inner != nil {
			p.Elem().Set(reflect.ValueOf(inner))
		}
		return p.Interface()
	case r.Kind() == reflect.Slice && !r.IsNil():
		return reflect.AppendSlice(reflect.MakeSlice(r.Type(), 0, r.Len()), r).Interface()
	}
	return v
}

// displayed is a value as an error shows it: as the driver is given it, and so without pointers.
func displayed(v any) any {
	if plain, err := driver.DefaultParameterConverter.ConvertValue(v); err == nil {
		return plain
	}
	return v
}

// displayedKey is a key as an error shows it.
func displayedKey(key []any) []any {
	shown := make([]any, len(key))
	for i, v := range key {
		shown[i] = displayed(v)
	}
	return shown
}

// equalFields reports whether two values of one field are the same.
func equalFields(a, b any) bool {
	switch a.(type) {
	case int64, int, string: // the usual keys, without the cost of reflection
		return a == b
	}
	return reflect.DeepEqual(a, b)
}

// equalDriverValues reports whether two values are the same for the database.
func equalDriverValues(a, b driver.Value) bool {
	switch a := a.(type) {
	case []byte:
		b, ok := b.([]byte)
		return ok && bytes.Equal(a, b)
	case time.Time:
		b, ok := b.(time.Time)
		return ok && a.Equal(b)
	}
	if _, ok := b.([]byte); ok {
		return false
	}
	return a == b
}
