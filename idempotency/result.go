package idempotency

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// decode returns the T that a stored result is.
func decode[T any](data []byte) (value T, err error) {
	if err := json.Unmarshal(data, &value); err != nil {
		return value, fmt.Errorf("the stored result is no %T: %w", value, err)
	}
	return value, nil
}

// encode returns the JSON of a result, which must be one that decode takes.
func encode[T any](value T) ([]byte, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("the result can't be stored as JSON: %w", err)
	}
	if _, err := decode[T](data); err != nil {
		return nil, fmt.Errorf("the result can't be read back from its JSON %.200s: %w", data, err)
	}
	return data, nil
}

// shapeOf describes a type as far as its JSON depends on it: its name, and the names and types of its fields. A result that was
// stored by a type of another shape would be read as one with zero values in it.
func shapeOf(t reflect.Type) string {
	var b strings.Builder
	describe(&b, t, map[reflect.Type]bool{})
	return b.String()
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

func describe(b *strings.Builder, t reflect.Type, within map[reflect.Type]bool) {
	if t.Name() != "" {
		b.WriteString(t.String())
		if within[t] || implements(t, jsonMarshaler) || implements(t, textMarshaler) {
			return // a type that contains itself, or one that says itself what its JSON is
		}
	}
	within[t] = true
	defer delete(within, t)
	switch t.Kind() {
	case reflect.Pointer:
		b.WriteString("*")
		describe(b, t.Elem(), within)
	case reflect.Slice:
		b.WriteString("[]")
		describe(b, t.Elem(), within)
	case reflect.Array:
		fmt.Fprintf(b, "[%d]", t.Len())
		describe(b, t.Elem(), within)
	case reflect.Map:
		b.WriteString("map[")
		describe(b, t.Key(), within)
		b.WriteString("]")
		describe(b, t.Elem(), within)
	case reflect.Struct:
		describeFields(b, t, within)
	case reflect.Interface:
		if t.Name() == "" {
			b.WriteString("any")
		}
	default:
		if t.PkgPath() != "" {
			b.WriteString(" " + t.Kind().String())
		}
	}
}

func describeFields(b *strings.Builder, t reflect.Type, within map[reflect.Type]bool) {
	b.WriteString("{")
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		if tag == "-" || !f.IsExported() && !f.Anonymous {
			continue
		}
		b.WriteString(f.Name)
		if tag != "" {
			fmt.Fprintf(b, "(%s)", tag)
		}
		b.WriteString(" ")
		describe(b, f.Type, within)
		b.WriteString("; ")
	}
	b.WriteString("}")
}

func implements(t, what reflect.Type) bool {
	return t.Implements(what) || reflect.PointerTo(t).Implements(what)
}
