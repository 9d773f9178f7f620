package fields_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nogap-go/nogap/internal/dialect"
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
	id, _ := dialect.Columns("id")
	sku, _ := dialect.Columns("sku")
	const (
		keyHint = `: the key column is "id" unless WithKey names others`
		tagHint = `: a field of fields_test.row has no column: tag it with the column's name, as in db:"created_at", or with db:"-"`
	)
	missing := func(name string) error { return fmt.Errorf("no column %q: %w", name, stateError("42703")) }
	for _, tt := range []struct {
		err  error
		key  []dialect.Ident
		row  reflect.Type
		hint string
	}{
		{missing("id"), id, reflect.TypeFor[row](), keyHint},
		{missing("id"), id, nil, keyHint},
		{missing("paid"), id, reflect.TypeFor[row](), tagHint},
		{missing("paid"), id, nil, ""},
		{missing("id"), sku, reflect.TypeFor[row](), tagHint},
		{missing("id"), append(id, sku...), nil, ""},
		{errors.New("id"), id, reflect.TypeFor[row](), ""},
	} {
		err := fields.Explain(tt.err, tt.key, "WithKey", tt.row)
		require.ErrorIs(t, err, tt.err)
		require.EqualError(t, err, tt.err.Error()+tt.hint)
	}
	require.NoError(t, fields.Explain(nil, id, "WithKey", nil))
}
