package optimistic

import (
	"database/sql"
	"reflect"

	"github.com/nogap-go/nogap/internal/fields"
)

// NewCopy returns what copies a T for each function.
func NewCopy[T any]() (func(*T) *T, error) {
	columns, err := fields.Of(reflect.TypeFor[T](), fields.Mapper())
	if err != nil {
		return nil, err
	}
	return newCopy[T](columns)
}

// Rows and Waiting say for how many rows a Coalescer keeps anything, and how many callers wait for one.
func (c *Coalescer[T]) Rows() int {
	rows, _ := c.group.Size()
	return rows
}

func (c *Coalescer[T]) Waiting() int {
	_, waiting := c.group.Size()
	return waiting
}

// DB returns the database of a Table.
func (t *Table[T]) DB() *sql.DB { return t.t.DB() }
