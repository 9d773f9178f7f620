package idempotency

import (
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type node struct {
	Name  string
	Next  *node
	inner int
}

func TestShape(t *testing.T) {
	type tagged struct {
		A int `json:"a,omitempty"`
		B int `json:"-"`
	}
	for want, v := range map[string]any{
		"int":                 0,
		"string":              "",
		"[]string":            []string{},
		"map[string]float64":  map[string]float64{},
		"time.Time":           time.Time{},
		"*time.Time":          &time.Time{},
		"time.Duration int64": time.Second,
		"idempotency.tagged{A(a,omitempty) int; }":                 tagged{},
		"idempotency.node{Name string; Next *idempotency.node; }":  node{inner: 1},
		"*idempotency.node{Name string; Next *idempotency.node; }": &node{},
	} {
		require.Equal(t, want, shapeOf(reflect.TypeOf(v)))
	}
	require.Equal(t, "any", shapeOf(reflect.TypeFor[any]()))
}

func TestEncode(t *testing.T) {
	data, err := encode(node{Name: "a", Next: &node{Name: "b"}})
	require.NoError(t, err)
	back, err := decode[node](data)
	require.NoError(t, err)
	require.Equal(t, node{Name: "a", Next: &node{Name: "b"}}, back)
	_, err = encode(math.Inf(1))
	require.ErrorContains(t, err, "can't be stored as JSON")
	_, err = decode[int]([]byte(`"text"`))
	require.ErrorContains(t, err, "no int")
}
