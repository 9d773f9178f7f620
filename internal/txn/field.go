package txn

import (
	"database/sql/driver"
	"reflect"
	"strings"
	"sync"
)

// The types of the drivers' connections.
const (
	pgxConn   = "github.com/jackc/pgx/v5/stdlib.Conn"
	pqConn    = "github.com/lib/pq.conn"
	mysqlConn = "github.com/go-sql-driver/mysql.mysqlConn"
)

// field is something that a driver's connection knows, and that the driver hands out to nobody through database/sql.
type field struct {
	// paths are the names of fields, from the driver's connection on, by its type; several where versions of the driver
	// differ.
	paths map[string][]string
	// found is of the numbers of these fields, []int, by reflect.Type; nil where there are none.
	found sync.Map
}

// of returns the field of a driver's connection, and false if it has none that is known.
func (f *field) of(driverConn any) (reflect.Value, bool) {
	v := reflect.ValueOf(unwrapped(driverConn))
	if v.Kind() != reflect.Pointer {
		return v, false
	}
	found, ok := f.found.Load(v.Type())
	if !ok {
		found, _ = f.found.LoadOrStore(v.Type(), f.find(v.Type()))
	}
	steps := found.([]int)
	for _, step := range steps {
		if v = reflect.Indirect(v); !v.IsValid() {
			return v, false
		}
		v = v.Field(step)
	}
	return v, len(steps) > 0
}

// unwrapped returns the connection in a wrapper around a driver, such as otelsql's, if the wrapper gives it out.
func unwrapped(driverConn any) any {
	for {
		wrapper, ok := driverConn.(interface{ Raw() driver.Conn })
		if !ok {
			return driverConn
		}
		driverConn = wrapper.Raw()
	}
}

// find returns the numbers of the fields, or none if they are not where they are expected.
func (f *field) find(t reflect.Type) []int {
	for _, path := range f.paths[typeName(t)] {
		if steps := follow(t, strings.Split(path, ".")); steps != nil {
			return steps
		}
	}
	return nil
}

func follow(t reflect.Type, names []string) (steps []int) {
	for _, name := range names {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct {
			return nil
		}
		field, ok := t.FieldByName(name)
		if !ok || len(field.Index) != 1 {
			return nil
		}
		steps, t = append(steps, field.Index[0]), field.Type
	}
	return steps
}

// typeName returns the name of the type that t points to, with the path of its package.
func typeName(t reflect.Type) string { return t.Elem().PkgPath() + "." + t.Elem().Name() }
