package pessimistic

import (
	"cmp"
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key is the value of a row's key columns, with a form of it that is the same for values that a database holds to be
// equal, such as int(1) and int64(1). Two keys of one row that still look different, say because the database ignores
// case, only meet later: in the database.
type key struct {
	values []any // as many as there are key columns
	parts  []part
	text   string // of parts
}

// part is one comparable value. Of n and s the one that does not belong to the kind is zero.
type part struct {
	kind byte
	n    int64
	f    float64
	s    string
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
	k := key{values: values}
	var text strings.Builder
	for _, v := range values {
		p, err := newPart(v)
		if err != nil {
			return key{}, err
		}
		k.parts = append(k.parts, p)
		p.writeTo(&text)
	}
	k.text = text.String()
	return k, nil
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

func newPart(v any) (part, error) {
	if rv := reflect.ValueOf(v); rv.CanUint() && rv.Uint() > 1<<63-1 {
		return part{kind: 'u', n: int64(rv.Uint() - 1<<63)}, nil // greater than every int64, as 'u' is greater than 'i'
	}
	c, err := driver.DefaultParameterConverter.ConvertValue(v)
	if err != nil {
		// A type that only its driver knows, such as pgx's [16]byte for a UUID.
		return part{kind: 'x', s: fmt.Sprintf("%T %v", v, v)}, nil
	}
	switch c := c.(type) {
	case nil:
		return part{}, errors.New("a key is nil, and NULL equals nothing")
	case int64:
		return part{kind: 'i', n: c}, nil
	case bool:
		if c {
			return part{kind: 'b', n: 1}, nil
		}
		return part{kind: 'b'}, nil
	case float64:
		return part{kind: 'f', f: c}, nil
	case string:
		return part{kind: 's', s: c}, nil
	case []byte:
		return part{kind: 's', s: string(c)}, nil
	case time.Time:
		return part{kind: 't', n: c.UnixNano()}, nil
	}
	return part{kind: 'x', s: fmt.Sprintf("%T %v", c, c)}, nil
}

func (p part) writeTo(b *strings.Builder) {
	b.WriteByte(p.kind)
	switch p.kind {
	case 's', 'x':
		b.WriteString(strconv.Itoa(len(p.s))) // so that no text can look like two parts
		b.WriteByte(':')
		b.WriteString(p.s)
	case 'f':
		b.WriteString(strconv.FormatFloat(p.f, 'g', -1, 64))
	default:
		b.WriteString(strconv.FormatInt(p.n, 10))
	}
}

// compare orders keys, in every process alike: locks taken in this order can't form a circle.
func (k key) compare(other key) int {
	return slices.CompareFunc(k.parts, other.parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.n, b.n), cmp.Compare(a.f, b.f), cmp.Compare(a.s, b.s))
	})
}
