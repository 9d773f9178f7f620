package atomic

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"math"
	"math/big"
	"reflect"

	"github.com/nogap-go/nogap/internal/dialect"
)

// numberOf returns how the values of N travel to and from a column.
func numberOf[N any]() dialect.Number {
	t := reflect.TypeFor[N]()
	if t.Implements(reflect.TypeFor[driver.Valuer]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[sql.Scanner]()) {
		return dialect.Decimal
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return dialect.Signed
	case reflect.Uint, reflect.Uint64, reflect.Uintptr:
		return dialect.Unsigned
	}
	return dialect.Decimal
}

// sign returns -1, 0 or 1 for an amount, or an error if it is no number.
func sign(amount any) (int, error) {
	v := reflect.ValueOf(amount)
	if valuer, ok := amount.(driver.Valuer); ok {
		if v.Kind() == reflect.Pointer && v.IsNil() {
			return 0, fmt.Errorf("amount is nil")
		}
		inner, err := valuer.Value()
		if err != nil {
			return 0, fmt.Errorf("amount: %w", err)
		}
		if _, again := inner.(driver.Valuer); again {
			return 0, fmt.Errorf("amount %v has no plain value", amount)
		}
		return sign(inner)
	}
	switch {
	case v.CanInt():
		return compare(v.Int(), 0), nil
	case v.CanUint():
		return compare(v.Uint(), 0), nil
	case v.CanFloat():
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, fmt.Errorf("amount %v is not a finite number", f)
		}
		return compare(f, 0), nil
	}
	text, ok := amount.(string)
	if b, isBytes := amount.([]byte); isBytes {
		text, ok = string(b), true
	} else if v.Kind() == reflect.String {
		text, ok = v.String(), true
	}
	if ok && isDecimal(text) {
		if r, ok := new(big.Rat).SetString(text); ok {
			return r.Sign(), nil
		}
	}
	return 0, fmt.Errorf("amount %#v is not a number", amount)
}

// isDecimal reports whether all servers read the text as the same decimal number: sign, digits, point, digits.
func isDecimal(text string) bool {
	if text != "" && (text[0] == '-' || text[0] == '+') {
		text = text[1:]
	}
	digits, points := 0, 0
	for _, r := range text {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r == '.':
			points++
		default:
			return false
		}
	}
	return digits > 0 && points <= 1
}

func compare[T int64 | uint64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// fromInsertID stores what LastInsertId returned, whose 64 bits are those of the new value, signed or not.
func fromInsertID[N any](id int64) (n N, err error) {
	if p, ok := any(&n).(*int64); ok {
		*p = id
		return n, nil
	}
	v := reflect.ValueOf(&n).Elem()
	switch {
	case v.CanInt() && !v.OverflowInt(id):
		v.SetInt(id)
	case v.CanUint() && !v.OverflowUint(uint64(id)):
		v.SetUint(uint64(id))
	default:
		return n, fmt.Errorf("the new value %d does not fit %T", id, n)
	}
	return n, nil
}
