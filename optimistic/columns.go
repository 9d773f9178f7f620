package optimistic

import (
	"bytes"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/rowkey"
)

// mapping says which field of T holds which column. The rules are sqlx's.
type mapping struct {
	all     []column // what is read, in the order of the fields
	key     []column // in the order of WithKey
	version column
	data    []column // what Update writes besides the version: all but the key and the version
}

type column struct {
	name  dialect.Ident
	index []int
	typ   reflect.Type
}

var (
	scannerType = reflect.TypeFor[sql.Scanner]()
	valuerType  = reflect.TypeFor[driver.Valuer]()
	timeType    = reflect.TypeFor[time.Time]()
)

func newMapping(t reflect.Type, key []dialect.Ident, version dialect.Ident) (mapping, error) {
	var m mapping
	if t.Kind() != reflect.Struct || isValue(t) {
		return m, fmt.Errorf("%v is not a struct with a field for each column", t)
	}
	fields := reflectx.NewMapperFunc("db", sqlx.NameMapper).TypeMap(t)
	for _, f := range fields.Index {
		inner := reflectx.Deref(f.Field.Type)
		switch {
		case strings.Contains(f.Path, "."):
			continue // part of a value, such as sql.NullString
		case f.Embedded && f.Field.Tag.Get("db") != "":
			return m, fmt.Errorf("%v: embedded field %s has a db tag: its columns would have no names", t, f.Field.Name)
		case f.Embedded && f.Field.Type.Kind() == reflect.Pointer && !f.Field.IsExported():
			return m, fmt.Errorf("%v: embedded field %s points to an unexported type, which cannot be allocated", t, f.Field.Name)
		case fields.Names[f.Path] != f:
			continue // embedded, or hidden by an outer field of the same name
		case inner.Kind() == reflect.Struct && !isValue(inner) && !isValue(f.Field.Type):
			return m, fmt.Errorf("%v: field %s is a struct that no column holds: embed it, give it Scan and Value methods, "+
				`or tag it db:"-"`, t, f.Field.Name)
		}
		name, err := dialect.Column(f.Path)
		if err != nil {
			return m, fmt.Errorf("%v: field %s: %w", t, f.Field.Name, err)
		}
		m.all = append(m.all, column{name, f.Index, f.Field.Type})
	}
	slices.SortFunc(m.all, func(a, b column) int { return slices.Compare(a.index, b.index) })

	named := func(what string, name dialect.Ident) (column, error) {
		for _, c := range m.all {
			if c.name.String() == name.String() {
				return c, nil
			}
		}
		return column{}, fmt.Errorf("%v has no field for the %s column %q", t, what, name)
	}
	var err error
	if m.version, err = named("version", version); err != nil {
		return m, err
	}
	for _, name := range key {
		c, err := named("key", name)
		if err != nil {
			return m, err
		}
		if c.name.String() == version.String() {
			return m, fmt.Errorf("column %q cannot be both the version and part of the key", name)
		}
		m.key = append(m.key, c)
	}
	for _, c := range m.all {
		is := func(k column) bool { return k.name.String() == c.name.String() }
		if !is(m.version) && !slices.ContainsFunc(m.key, is) {
			m.data = append(m.data, c)
		}
	}
	return m, nil
}

// isValue reports whether one column holds a value of type t.
func isValue(t reflect.Type) bool {
	return t == timeType || t.Implements(valuerType) || reflect.PointerTo(t).Implements(scannerType)
}

// target is where the column of a row is scanned to. Embedded pointers on the way are allocated.
func (c column) target(item reflect.Value) any {
	if len(c.index) == 1 {
		return item.Field(c.index[0]).Addr().Interface()
	}
	return reflectx.FieldByIndexes(item, c.index).Addr().Interface()
}

// value is what the column's field holds: nil, which is NULL, behind an embedded pointer that is nil.
func (c column) value(item reflect.Value) any {
	if len(c.index) == 1 {
		return item.Field(c.index[0]).Interface()
	}
	f, err := item.FieldByIndexErr(c.index)
	if err != nil {
		return nil
	}
	return f.Interface()
}

// kept makes a value independent of the struct that it is from, which a callback goes on to change.
func kept(v any) any {
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
		if inner := kept(p.Elem().Interface()); inner != nil {
			p.Elem().Set(reflect.ValueOf(inner))
		}
		return p.Interface()
	case r.Kind() == reflect.Slice && !r.IsNil():
		return reflect.AppendSlice(reflect.MakeSlice(r.Type(), 0, r.Len()), r).Interface()
	}
	return v
}

// shown is a value as an error shows it: as the driver is given it, and so without pointers.
func shown(v any) any {
	if value, err := driver.DefaultParameterConverter.ConvertValue(v); err == nil {
		return value
	}
	return v
}

// checkKey says what is wrong with key values that the caller gave.
func (m mapping) checkKey(key []any) error {
	if len(key) != len(m.key) {
		return fmt.Errorf("%d key values for %d key columns", len(key), len(m.key))
	}
	for i, k := range key {
		if rowkey.IsNull(k) {
			return fmt.Errorf("the value for the key column %q is NULL", m.key[i].name)
		}
	}
	return nil
}

// same reports whether two driver values are equal.
func same(a, b driver.Value) bool {
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

var errNilItem = errors.New("the item is nil")
