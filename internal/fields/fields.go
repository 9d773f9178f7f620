// Package fields says which field of a struct holds which column of a table. The rules are sqlx's.
package fields

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/sqlerr"
)

// Column is a column and the field that holds it.
type Column struct {
	Name  dialect.Ident
	Index []int // of the field, for reflect
	Type  reflect.Type
}

// TimeType is time.Time.
var TimeType = reflect.TypeFor[time.Time]()

var (
	scannerType = reflect.TypeFor[sql.Scanner]()
	valuerType  = reflect.TypeFor[driver.Valuer]()
)

// Mapper returns what knows the names of the fields where nobody has one of his own: sqlx's.
func Mapper() *reflectx.Mapper { return sqlx.NewDb(nil, "").Mapper }

// Of returns the columns of a struct, in the order of its fields.
func Of(t reflect.Type, mapper *reflectx.Mapper) ([]Column, error) {
	if t.Kind() != reflect.Struct || IsScalar(t) {
		return nil, fmt.Errorf("%v is not a struct with a field for each column", t)
	}
	fields := mapper.TypeMap(t)
	var all []Column
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
		if inner := reflectx.Deref(f.Field.Type); inner.Kind() == reflect.Struct && !IsScalar(inner) && !IsScalar(f.Field.Type) {
			return nil, fmt.Errorf("%v: field %s is a struct that no column holds: embed it, give it Scan and Value methods, "+
				`or tag it db:"-"`, t, f.Field.Name)
		}
		name, err := dialect.Column(f.Path)
		if err != nil {
			return nil, fmt.Errorf("%v: field %s: %w", t, f.Field.Name, err)
		}
		all = append(all, Column{name, f.Index, f.Field.Type})
	}
	slices.SortFunc(all, func(a, b Column) int { return slices.Compare(a.Index, b.Index) })
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

// Is reports whether both are the same column.
func (c Column) Is(other Column) bool { return c.Name.String() == other.Name.String() }

// IsScalar reports whether one column holds a value of type t.
func IsScalar(t reflect.Type) bool {
	return t == TimeType || t.Implements(valuerType) || reflect.PointerTo(t).Implements(scannerType)
}

// Pointer returns what the column of a row is scanned to. Embedded pointers on the way are allocated.
func (c Column) Pointer(item reflect.Value) any {
	if len(c.Index) == 1 {
		return item.Field(c.Index[0]).Addr().Interface()
	}
	return reflectx.FieldByIndexes(item, c.Index).Addr().Interface()
}

// Get returns what the column's field holds: nil, which is NULL, behind an embedded pointer that is nil.
func (c Column) Get(item reflect.Value) any {
	if len(c.Index) == 1 {
		return item.Field(c.Index[0]).Interface()
	}
	f, err := item.FieldByIndexErr(c.Index)
	if err != nil {
		return nil
	}
	return f.Interface()
}

// Explain adds to an error of a statement, if it says that there is no such column, where the column's name comes from: it is the
// key column, "id" unless option names others, or that of a field of row. row is nil if no column has its name from a field.
func Explain(err error, key []dialect.Ident, option string, row reflect.Type) error {
	switch {
	case !sqlerr.Of(err).Has(sqlerr.NoColumn):
		return err
	case len(key) == 1 && key[0].String() == "id" && wordID.MatchString(err.Error()):
		return fmt.Errorf(`%w: the key column is "id" unless %s names others`, err, option)
	case row != nil:
		return fmt.Errorf(`%w: a field of %v has no column: tag it with the column's name, as in db:"created_at", or with db:"-"`, err, row)
	}
	return err
}

var wordID = regexp.MustCompile(`\bid\b`)
