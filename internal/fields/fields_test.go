package fields_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/fields"
)

type place struct{ City string }

type row struct {
	ID       int64
	Made     time.Time `db:"created_at"`
	*Address           // its fields are columns
	Total    int64     `db:"-"`
	hidden   int64
}

type Address struct {
	City string `db:"city"`
}

func TestOf(t *testing.T) {
	all, err := fields.Of(reflect.TypeFor[row](), fields.Mapper())
	require.NoError(t, err)
	var names []string
	for _, c := range all {
		names = append(names, c.Name.String())
	}
	require.Equal(t, []string{"id", "created_at", "city"}, names)

	r := row{ID: 7, hidden: 1}
	item := reflect.ValueOf(&r).Elem()
	require.Equal(t, int64(7), all[0].Get(item))
	require.Nil(t, all[2].Get(item), "there is no Address")
	*all[2].Pointer(item).(*string) = "Bern"
	require.Equal(t, "Bern", r.City)
	require.True(t, all[0].Is(all[0]))
	require.False(t, all[0].Is(all[1]))
}

func TestOfRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		row  reflect.Type
		want string
	}{
		"a number": {reflect.TypeFor[int](), "int is not a struct"},
		"a time":   {fields.TimeType, "time.Time is not a struct"},
		"a struct": {reflect.TypeFor[struct{ Home place }](), "field Home is a struct that no column holds"},
		"a bad name": {reflect.TypeFor[struct {
			Name string `db:"na'me"`
		}](), "field Name"},
		"a named part": {reflect.TypeFor[struct {
			Address `db:"home"`
		}](), "embedded field Address has a db tag"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := fields.Of(tt.row, fields.Mapper())
			require.ErrorContains(t, err, tt.want)
		})
	}
}

type stateError string

func (e stateError) Error() string    { return "state " + string(e) }
func (e stateError) SQLState() string { return string(e) }

func TestExplain(t *testing.T) {
	missing := fmt.Errorf("select: %w", stateError("42703"))
	err := fields.Explain(reflect.TypeFor[row](), missing)
	require.ErrorIs(t, err, missing)
	require.ErrorContains(t, err, "a field of fields_test.row has no column")
	other := errors.New("other")
	require.Equal(t, other, fields.Explain(reflect.TypeFor[row](), other))
	require.NoError(t, fields.Explain(reflect.TypeFor[row](), nil))
}
