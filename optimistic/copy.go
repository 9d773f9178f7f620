package optimistic

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/jmoiron/sqlx/reflectx"

	"github.com/nogap-go/nogap/internal/fields"
)

// cloner is a T that copies itself.
type cloner[T any] interface{ Clone() T }

// newCopy returns a function that copies an item so that no change of the copy shows in the item: by T's Clone, or by
// assignment and copies of what the exported fields refer to. As in an item that was just loaded, the fields that no column
// fills are zero. The error names a field whose value can't be copied.
func newCopy[T any](columns []fields.Column) (func(*T) *T, error) {
	t := reflect.TypeFor[T]()
	clone := func(item *T) *T {
		c := any(item).(cloner[T]).Clone()
		return &c
	}
	if _, ok := any((*T)(nil)).(cloner[T]); !ok {
		refs, err := referencesOf(t, "", true, nil)
		if err != nil {
			return nil, err
		}
		clone = func(item *T) *T {
			c := *item
			if refs != nil {
				refs(reflect.ValueOf(&c).Elem())
			}
			return &c
		}
	}
	if allColumns(t, nil, columns) {
		return clone, nil
	}
	return func(item *T) *T {
		from, to := reflect.ValueOf(clone(item)).Elem(), new(T)
		for _, c := range columns {
			if v, err := from.FieldByIndexErr(c.Index); err == nil { // else its embedded struct is nil
				reflectx.FieldByIndexes(reflect.ValueOf(to).Elem(), c.Index).Set(v)
			}
		}
		return to
	}, nil
}

// allColumns reports whether each field of a struct at index, of T, holds a column.
func allColumns(t reflect.Type, index []int, columns []fields.Column) bool {
	for i := range t.NumField() {
		f, at := t.Field(i), append(slices.Clone(index), i)
		if slices.ContainsFunc(columns, func(c fields.Column) bool { return slices.Equal(c.Index, at) }) {
			continue
		}
		if inner := reflectx.Deref(f.Type); !f.Anonymous || inner.Kind() != reflect.Struct || !allColumns(inner, at, columns) {
			return false
		}
	}
	return true
}

// references replaces what a value refers to by copies. It can be set, and is a copy by assignment itself.
type references func(v reflect.Value)

// referencesOf returns the references of a type; nil if assignment copies all of it. path is where it is in T, reachable
// says that reflection may set it, and above are the types around it.
func referencesOf(t reflect.Type, path string, reachable bool, above []reflect.Type) (references, error) {
	if t == fields.TimeType { // which nothing changes
		return nil, nil
	}
	uncopied := func(why string) (references, error) {
		return nil, fmt.Errorf("field %s is %s: give the struct a method Clone that returns a copy of it", path, why)
	}
	if slices.Contains(above, t) {
		return uncopied(fmt.Sprintf("of the recursive type %v, whose values can't be copied", t))
	}
	above = append(slices.Clone(above), t)
	switch t.Kind() {
	case reflect.Struct:
		return referencesOfStruct(t, path, reachable, above)
	case reflect.Array:
		elem, err := referencesOf(t.Elem(), path, reachable, above)
		if elem == nil || err != nil {
			return nil, err
		}
		return elem.ofEach, nil
	case reflect.Pointer, reflect.Slice, reflect.Map:
		if !reachable {
			return uncopied(fmt.Sprintf("unexported and refers to other values (%v)", t))
		}
		elem, err := referencesOf(t.Elem(), path, true, above)
		if err != nil {
			return nil, err
		}
		if t.Kind() == reflect.Map {
			if key, err := referencesOf(t.Key(), path, true, above); key != nil || err != nil {
				return uncopied(fmt.Sprintf("a map whose keys refer to other values (%v)", t))
			}
		}
		return map[reflect.Kind]func() references{
			reflect.Pointer: elem.ofPointer, reflect.Slice: elem.ofSlice, reflect.Map: elem.ofMap,
		}[t.Kind()](), nil
	case reflect.Interface, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return uncopied(fmt.Sprintf("a %v, whose values can't be copied", t))
	}
	return nil, nil
}

func referencesOfStruct(t reflect.Type, path string, reachable bool, above []reflect.Type) (references, error) {
	var inner []func(reflect.Value)
	for i := range t.NumField() {
		f := t.Field(i)
		at := f.Name
		if path != "" {
			at = path + "." + at
		}
		embedded := f.Anonymous && f.Type.Kind() == reflect.Struct
		refs, err := referencesOf(f.Type, at, reachable && (f.IsExported() || embedded), above)
		if err != nil {
			return nil, err
		}
		if refs != nil {
			inner = append(inner, func(v reflect.Value) { refs(v.Field(i)) })
		}
	}
	if inner == nil {
		return nil, nil
	}
	return func(v reflect.Value) {
		for _, of := range inner {
			of(v)
		}
	}, nil
}

// in copies the references of a value, if there are any.
func (r references) in(v reflect.Value) {
	if r != nil {
		r(v)
	}
}

// ofEach copies the references of the elements of an array or a slice.
func (r references) ofEach(v reflect.Value) {
	if r != nil {
		for i := range v.Len() {
			r(v.Index(i))
		}
	}
}

func (r references) ofPointer() references {
	return func(v reflect.Value) {
		if !v.IsNil() {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(v.Elem())
			r.in(p.Elem())
			v.Set(p)
		}
	}
}

func (r references) ofSlice() references {
	return func(v reflect.Value) {
		if !v.IsNil() {
			s := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
			reflect.Copy(s, v)
			r.ofEach(s)
			v.Set(s)
		}
	}
}

func (r references) ofMap() references {
	return func(v reflect.Value) {
		if v.IsNil() {
			return
		}
		m := reflect.MakeMapWithSize(v.Type(), v.Len())
		for key, value := range v.Seq2() {
			c := reflect.New(v.Type().Elem()).Elem()
			c.Set(value)
			r.in(c)
			m.SetMapIndex(key, c)
		}
		v.Set(m)
	}
}
