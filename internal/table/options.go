package table

import (
	"errors"
	"fmt"

	"github.com/nogap-go/nogap"
	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/option"
)

// WithKey is the option of that name, which names the key columns. set stores them.
func WithKey[C any](columns []string, set func(*C, []dialect.Ident)) option.Option[C] {
	return option.Option[C]{Name: "WithKey", Set: func(c *C) error {
		if len(columns) == 0 {
			return errors.New("WithKey names no column")
		}
		key, err := dialect.Columns(columns...)
		if err != nil {
			return fmt.Errorf("WithKey: %w", err)
		}
		set(c, key)
		return nil
	}}
}

// WithDialect is the option of that name, which says what the server speaks. set stores it.
func WithDialect[C any](d nogap.Dialect, set func(*C, nogap.Dialect)) option.Option[C] {
	return option.Option[C]{Name: "WithDialect", Set: func(c *C) error {
		if _, err := dialect.Assume(d); err != nil {
			return fmt.Errorf("WithDialect: %w", err)
		}
		set(c, d)
		return nil
	}}
}
