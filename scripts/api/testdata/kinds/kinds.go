// Package kinds has one of everything that can be exported.
package kinds

import (
	"context"
	"database/sql"
	"io"
	"sync"

	"github.com/nogap-go/nogap/scripts/api/testdata/kinds/internal/hidden"
)

type Level int

const (
	Low     Level = iota + 1
	High          // typed by the one before
	Limit         = 1 << 40
	Name          = "a \"name\""
	Ratio         = 0.25
	Typed   int32 = 7
	hidden1       = 1
)

var (
	ErrOne        error
	First, Second = map[string][]Level{}, [2]*Level{}
	Send          chan<- int
	Receive       <-chan func(name string, more ...int) (n int, err error)
	unexportedVar int
	_                           = hidden1 + unexportedVar
	_, _                        = unexported()
	_             io.ReadCloser = (*Reader)(nil)
)

func Open(ctx context.Context, db *sql.DB, names ...string) (opened *Reader, err error) {
	return nil, nil
}

func Nothing() {}

func With(fn func(ctx context.Context, tx *sql.Tx) error) func() (stop bool) { return nil }

func Map[K comparable, V any, S ~[]V | ~map[K]V](of S, by func(value V) K) Pair[K, V] {
	return Pair[K, V]{}
}

func unexported() (int, int) { return 0, 0 }

type Number interface{ ~int | ~float64 }

type Sum[N Number] func(a, b N) (sum N)

type Pair[K comparable, V any] struct {
	Key   K
	Value V
	next  *Pair[K, V]
}

func (p *Pair[A, B]) Set(key A, value B) *Pair[A, B] { p.Key, p.Value = key, value; return p.next }

func (p Pair[A, B]) Get() (A, B) { return p.Key, p.Value }

type Reader struct {
	io.Reader
	mutex
	*base
	Options struct {
		Size int
		Done func(err error)
	}
	Hides string
	small int
}

func (*Reader) Close() error { return nil }

func (r *Reader) unexported() int { return r.small }

type mutex struct{ sync.Mutex }

type base struct {
	Depth int
	Hides int
}

func (base) Base() int { return (&Reader{}).unexported() }

type Doer interface {
	Do(ctx context.Context) (done bool, err error)
	io.Closer
}

type Empty interface{}

type Sealed interface {
	Sealed(by string)
	sealed()
}

type Handler func(w io.Writer) error

func (h Handler) Handle(w io.Writer) error { return h(w) }

type (
	Writer        = io.Writer
	List[E any]   = []E
	Hidden        = hidden.Type
	unexportedInt int
)

func (unexportedInt) Exported() {}
