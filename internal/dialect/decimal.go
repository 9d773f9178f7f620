package dialect

import (
	"database/sql/driver"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// decimals are the largest numbers that a server casts to its DECIMAL. The zero value has no limits.
type decimals struct {
	digits int // in all
	scale  int // behind the point
}

// CheckAmount returns an error for an amount that the server would cut, or refuse with a text about a column.
func (s Server) CheckAmount(n Number, amount any) error {
	if n != Decimal || s.decimals.digits == 0 {
		return nil
	}
	whole, zeros, places := placesOf(amount)
	switch {
	case whole > s.decimals.digits:
		return fmt.Errorf("an amount of %d digits is more than a DECIMAL of %v holds, which are %d", whole, s, s.decimals.digits)
	case whole == 0 && places > 0 && zeros >= s.decimals.scale:
		return fmt.Errorf("the amount %v is less than a DECIMAL of %v can hold, which has %d decimal places", amount, s, s.decimals.scale)
	}
	return nil
}

// scaleFor returns the scale with which the amount is cast. A column that holds the digits before the point has no more
// behind it than are left, so that what is cut here is what the column would not keep.
func (d decimals) scaleFor(amount any) int {
	whole, _, places := placesOf(amount)
	return max(0, min(places, d.scale, d.digits-whole))
}

// placesOf returns how many digits an amount has before the point, without zeros in front, and behind it, without zeros
// at the end; zeros of these come first.
func placesOf(amount any) (whole, zeros, places int) {
	if valuer, ok := amount.(driver.Valuer); ok {
		inner, err := valuer.Value()
		if _, again := inner.(driver.Valuer); err != nil || again {
			return 0, 0, 0 // an error of the driver's
		}
		return placesOf(inner)
	}
	text := ""
	switch v := reflect.ValueOf(amount); {
	case !v.IsValid():
		return 0, 0, 0
	case v.CanFloat():
		text = strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case v.Kind() == reflect.String:
		text = v.String()
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		text = string(v.Bytes())
	default:
		text = fmt.Sprint(amount)
	}
	before, behind, _ := strings.Cut(strings.TrimLeft(text, "+-"), ".")
	behind = strings.TrimRight(behind, "0")
	return len(strings.TrimLeft(before, "0")), len(behind) - len(strings.TrimLeft(behind, "0")), len(behind)
}
