package idempotency

import (
	"errors"
	"fmt"
	"strings"
)

// maxKey is how many bytes a key has at most, and a scope.
const maxKey = 255

// checkKey returns an error for what is no key.
func checkKey(key string) error {
	if key == "" {
		return errors.New("the key is empty")
	}
	return checkBytes("key", key)
}

// checkBytes returns an error for what the table does not keep, or what other programs would cut.
func checkBytes(what, text string) error {
	switch {
	case len(text) > maxKey:
		return fmt.Errorf("the %s %.20q… has %d bytes, more than %d", what, text, len(text), maxKey)
	case strings.IndexByte(text, 0) >= 0:
		return fmt.Errorf("the %s %q has a NUL", what, text)
	}
	return nil
}
