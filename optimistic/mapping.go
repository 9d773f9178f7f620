package optimistic

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap/internal/dialect"
)

// mapping says which field of T holds which column. The rules are sqlx's.
type mapping struct {
	all     []mappedColumn // what is read, in the order of the fields
	key     []mappedColumn // in the order of WithKey
	version mappedColumn
	data    []mappedColumn // what Update writes besides the version: all but the key, the version and readOnly
	// readOnly is what is read and never written, in the order of the option.
	readOnly []mappedColumn
}

type mappedColumn struct {
	name  dialect.Ident
	index []int
	typ   reflect.Type
}

var (
	scannerType = reflect.TypeFor[sql.Scanner]()
	valuerType  = reflect.TypeFor[driver.Valuer]()
	timeType    = reflect.TypeFor[time.Time]()
)

func newMapping(t reflect.Type, key []dialect.Ident, version dialect.Ident, readOnly []dialect.Ident) (m mapping, err error) {
	if m.all, err = columnsOf(t); err != nil {
		return m, err
	}
	if m.version, err = m.column(t, "version", version); err != nil {
		return m, err
	}
	for _, name := range key {
		c, err := m.column(t, "key", name)
		if err != nil {
			return m, err
		}
		if c.name.String() == version.String() {
			return m, fmt.Errorf("column %q cannot be both the version and part of the key", name)
		}
		m.key = append(m.key, c)
	}
	for _, name := range readOnly {
		c, err := m.column(t, "read-only", name)
		if err != nil {
			return m, err
		}
		if c.is(m.version) || slices.ContainsFunc(m.key, c.is) {
			return m, fmt.Errorf("ReadOnly: column %q is the version or part of the key", name)
		}
		m.readOnly = append(m.readOnly, c)
	}
	for _, c := range m.all {
		if !c.is(m.version) && !slices.ContainsFunc(m.key, c.is) && !slices.ContainsFunc(m.readOnly, c.is) {
			m.data = append(m.data, c)
		}
	}
	return m, nil
}

func (c mappedColumn) is(other mappedColumn) bool { return c.name.String() == other.name.String() }

// column returns the column of that name. what says what it is for.
func (m mapping) column(t reflect.Type, what string, name dialect.Ident) (mappedColumn, error) {
	for _, c := range m.all {
		if c.name.String() == name.String() {
			return c, nil
		}
	}
	return mappedColumn{}, fmt.Errorf("%v has no field for the %s column %q", t, what, name)
}

func (m mapping) keyNames() []dialect.Ident { return namesOf(m.key) }

func namesOf(columns []mappedColumn) []dialect.Ident {
	names := make([]dialect.Ident, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	return names
}

// readOnlyValues returns copies of what the item has in the columns that are never written; nil if there are none.
func (m *mapping) readOnlyValues(item reflect.Value) []any {
	var values []any
	for _, c := range m.readOnly {
		values = append(values, cloneValue(c.get(item)))
	}
	return values
}

// checkReadOnly returns an error if the item no longer has these values.
func (m *mapping) checkReadOnly(item reflect.Value, before []any) error {
	for i, c := range m.readOnly {
		if is := c.get(item); !equalFields(is, before[i]) && !(isNaN(is) && isNaN(before[i])) {
			return fmt.Errorf("the callback changed the column %q, which is ReadOnly, from %v to %v", c.name, displayed(before[i]), displayed(is))
		}
	}
	return nil
}

// isNaN reports whether the driver is given a number that does not equal itself.
func isNaN(field any) bool {
	v, err := driver.DefaultParameterConverter.ConvertValue(field)
	f, isFloat := v.(float64)
	return err == nil && isFloat && math.IsNaN(f)
}

// columnsOf returns the columns of a struct, in the order of its fields.
func columnsOf(t reflect.Type) ([]mappedColumn, error) {
	if t.Kind() != reflect.Struct || isScalar(t) {
		return nil, fmt.Errorf("%v is not a struct with a field for each column", t)
	}
	fields := reflectx.NewMapperFunc("db", sqlx.NameMapper).TypeMap(t)
	var all []mappedColumn
	for _, f := range fields.Index {
		if strings.Contains(f.Path, ".") {
			continue // part of a value, such as sql.NullString
		}
		if err := checkEmbedded(t, f); err != nil {
			return nil, err
		}
		if fields.Names[f.Path] != f {
			continue // embedded, or hidden by an outer field of the same name
		}
		if inner := reflectx.Deref(f.Field.Type); inner.Kind() == reflect.Struct && !isScalar(inner) && !isScalar(f.Field.Type) {
			return nil, fmt.Errorf("%v: field %s is a struct that no column holds: embed it, give it Scan and Value methods, "+
				`or tag it db:"-"`, t, f.Field.Name)
		}
		name, err := dialect.Column(f.Path)
		if err != nil {
			return nil, fmt.Errorf("%v: field %s: %w", t, f.Field.Name, err)
		}
		all = append(all, mappedColumn{name, f.Index, f.Field.Type})
	}
	slices.SortFunc(all, func(a, b mappedColumn) int { return slices.Compare(a.index, b.index) })
	return all, nil
}

// checkEmbedded returns an error for an embedded field whose columns could not be read.
func checkEmbedded(t reflect.Type, f *reflectx.FieldInfo) error {
	switch {
	case f.Embedded && f.Field.Tag.Get("db") != "":
		return fmt.Errorf("%v: embedded field %s has a db tag: its columns would have no names", t, f.Field.Name)
	case f.Embedded && f.Field.Type.Kind() == reflect.Pointer && !f.Field.IsExported():
		return fmt.Errorf("%v: embedded field %s points to an unexported type, which cannot be allocated", t, f.Field.Name)
	}
	return nil
}

// isScalar reports whether one column holds a value of type t.
func isScalar(t reflect.Type) bool {
	return t == timeType || t.Implements(valuerType) || reflect.PointerTo(t).Implements(scannerType)
}

// pointer returns what the column of a row is scanned to. Embedded pointers on the way are allocated.
func (c mappedColumn) pointer(item reflect.Value) any {
	if len(c.index) == 1 {
		return item.Field(c.index[0]).Addr().Interface()
	}
	return reflectx.FieldByIndexes(item, c.index).Addr().Interface()
}

// get returns what the column's field holds: nil, which is NULL, behind an embedded pointer that is nil.
func (c mappedColumn) get(item reflect.Value) any {
	if len(c.index) == 1 {
		return item.Field(c.index[0]).Interface()
	}
	f, err := item.FieldByIndexErr(c.index)
	if err != nil {
		return nil
	}
	return f.Interface()
}
