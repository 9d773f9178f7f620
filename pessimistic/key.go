package pessimistic

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/nogap-go/nogap/internal/rowkey"
)

// key is the value of a row's key columns. Two keys of one row that still have different texts, say because the database
// ignores case, only meet later: in the database.
type key struct {
	values []any // as many as there are key columns
	text   string
}

// newKey takes v apart, which is the key itself if there is one column, and a []any, or a type made of it such as
// atomic.Key, if there are several.
func newKey(v any, columns int) (key, error) {
	values := []any{v}
	if list, ok := anySlice(v); ok {
		values = list
	}
	if len(values) != columns {
		return key{}, fmt.Errorf("key %v has %d values for %d key columns", v, len(values), columns)
	}
	if slices.ContainsFunc(values, rowkey.IsNull) {
		return key{}, errors.New("a key is nil, and NULL equals nothing")
	}
	values = slices.Clone(values)
	for i, v := range values { // the callback may change what a pointer points to, and be run again
		_, converts := v.(driver.Valuer)
		_, unknown := driver.DefaultParameterConverter.ConvertValue(v)
		if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !converts && unknown == nil {
			values[i] = r.Elem().Interface()
		}
	}
	text, _ := rowkey.Text(values)
	return key{values, text}, nil
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

// compareKeys orders keys, in every process alike: locks taken in this order can't form a circle.
func compareKeys(a, b key) int { return strings.Compare(a.text, b.text) }
