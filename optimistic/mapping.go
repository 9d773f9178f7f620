package optimistic

import (
	"database/sql/driver"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/fields"
)

// mapping says which field of T holds which column. The rules are sqlx's.
type mapping struct {
	all     []fields.Column // what is read, in the order of the fields
	key     []fields.Column // in the order of WithKey
	version fields.Column
	data    []fields.Column // what Update writes besides the version: all but the key, the version and readOnly
	// readOnly is what is read and never written, in the order of the option.
	readOnly []fields.Column
}

func newMapping(t reflect.Type, key []dialect.Ident, version dialect.Ident, readOnly []dialect.Ident) (m mapping, err error) {
	if m.all, err = fields.Of(t, fields.Mapper()); err != nil {
		return m, err
	}
	if m.version, err = m.column(t, "version", version, "VersionColumn"); err != nil {
		return m, err
	}
	for _, name := range key {
		c, err := m.column(t, "key", name, "WithKey")
		if err != nil {
			return m, err
		}
		if c.Name.String() == version.String() {
			return m, fmt.Errorf("column %q cannot be both the version and part of the key", name)
		}
		m.key = append(m.key, c)
	}
	for _, name := range readOnly {
		c, err := m.column(t, "read-only", name, "ReadOnly")
		if err != nil {
			return m, err
		}
		if c.Is(m.version) || slices.ContainsFunc(m.key, c.Is) {
			return m, fmt.Errorf("ReadOnly: column %q is the version or part of the key", name)
		}
		m.readOnly = append(m.readOnly, c)
	}
	for _, c := range m.all {
		if !c.Is(m.version) && !slices.ContainsFunc(m.key, c.Is) && !slices.ContainsFunc(m.readOnly, c.Is) {
			m.data = append(m.data, c)
		}
	}
	return m, nil
}

// column returns the column of that name. what says what the column is for. option is the option that can name another one.
func (m mapping) column(t reflect.Type, what string, name dialect.Ident, option string) (fields.Column, error) {
	for _, c := range m.all {
		if c.Name.String() == name.String() {
			return c, nil
		}
	}
	return fields.Column{}, fmt.Errorf("%v has no field for the %s column %q: tag one with db:%[3]q, or name another column with %[4]s",
		t, what, name.String(), option)
}

func (m mapping) keyNames() []dialect.Ident { return namesOf(m.key) }

func namesOf(columns []fields.Column) []dialect.Ident {
	names := make([]dialect.Ident, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return names
}

// readOnlyValues returns copies of what the item has in the columns that are never written; nil if there are none.
func (m *mapping) readOnlyValues(item reflect.Value) []any {
	var values []any
	for _, c := range m.readOnly {
		values = append(values, cloneValue(c.Get(item)))
	}
	return values
}

// checkReadOnly returns an error if the item no longer has these values.
func (m *mapping) checkReadOnly(item reflect.Value, before []any) error {
	for i, c := range m.readOnly {
		if is := c.Get(item); !equalFields(is, before[i]) && !(isNaN(is) && isNaN(before[i])) {
			return fmt.Errorf("the callback changed the column %q, which is ReadOnly, from %v to %v", c.Name, displayed(before[i]), displayed(is))
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
