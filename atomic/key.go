package atomic

import "github.com/nogap-go/nogap"

// Key identifies a row: one value for each key column, "id" unless WithKey names others.
type Key = nogap.Key

// arguments returns the key followed by the other values.
func arguments(key Key, others ...any) []any {
	if len(others) == 0 {
		return key
	}
	return append(append(make([]any, 0, len(key)+len(others)), key...), others...)
}
