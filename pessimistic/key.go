package pessimistic

import (
	"database/sql/driver"
	"reflect"
	"slices"

	"github.com/nogap-go/nogap"
)

// spread returns the values of a key, which is the value itself if there is one column, and a []any, or a type made of it
// such as nogap.Key, if there are several.
func spread(key any) nogap.Key {
	values := nogap.Key{key}
	if list, ok := anySlice(key); ok {
		values = slices.Clone(list)
	}
	for i, v := range values { // the callback may change what a pointer points to, and be run again
		_, converts := v.(driver.Valuer)
		_, unknown := driver.DefaultParameterConverter.ConvertValue(v)
		if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !r.IsNil() && !converts && unknown == nil {
			values[i] = r.Elem().Interface()
		}
	}
	return values
}

func anySlice(v any) ([]any, bool) {
	if list, ok := v.([]any); ok {
		return list, true
	}
	if t := reflect.TypeOf(v); t != nil && t.Kind() == reflect.Slice && t.Elem() == reflect.TypeFor[any]() {
		return reflect.ValueOf(v).Convert(reflect.TypeFor[[]any]()).Interface().([]any), true
	}
	return nil, false
}
