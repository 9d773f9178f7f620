package dialect

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPart is the longest name, in characters, that MySQL and MariaDB store. PostgreSQL stores 63 bytes and would cut a
// longer one short.
const maxPart = 64

// Ident is the validated name of a table or a column. The zero Ident is no name.
type Ident struct {
	parts []string
}

// Table parses the name of a table, which may be qualified by a schema, or by a catalog and a schema: "items",
// "shop.items". Each part is taken as the server stores it, so on PostgreSQL a table made by CREATE TABLE Items is
// "items".
func Table(name string) (Ident, error) {
	parts := strings.Split(name, ".")
	if len(parts) > 3 {
		return Ident{}, fmt.Errorf("table name %q has more than three parts", name)
	}
	for _, p := range parts {
		if err := checkPart(p); err != nil {
			return Ident{}, fmt.Errorf("table name %q %w", name, err)
		}
	}
	return Ident{parts}, nil
}

// Column parses the name of a column, which is never qualified.
func Column(name string) (Ident, error) {
	if err := checkPart(name); err != nil {
		return Ident{}, fmt.Errorf("column name %q %w", name, err)
	}
	return Ident{[]string{name}}, nil
}

// Columns parses the names of several columns that belong together, such as a key. Each may stand there only once.
func Columns(names ...string) ([]Ident, error) {
	idents := make([]Ident, len(names))
	for i, name := range names {
		id, err := Column(name)
		if err != nil {
			return nil, err
		}
		for _, before := range names[:i] {
			if strings.EqualFold(before, name) {
				return nil, fmt.Errorf("column name %q is given twice", name)
			}
		}
		idents[i] = id
	}
	return idents, nil
}

// checkPart says what is wrong with one part of a name. Quoting would make nearly any text a legal name; what is
// refused here is text that no schema holds and that usually is a mistake or somebody's input.
func checkPart(part string) error {
	switch {
	case part == "":
		return errors.New("is empty or has an empty part")
	case !utf8.ValidString(part):
		return errors.New("is not valid UTF-8")
	case utf8.RuneCountInString(part) > maxPart:
		return fmt.Errorf("is longer than %d characters", maxPart)
	case strings.TrimSpace(part) != part:
		return errors.New("begins or ends with white space")
	}
	for _, r := range part {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !strings.ContainsRune("_$- ", r) {
			return fmt.Errorf("holds the character %q; letters, digits, underscore, $, hyphen and space are allowed", r)
		}
	}
	return nil
}

// String returns the name as it was given.
func (id Ident) String() string { return strings.Join(id.parts, ".") }

// IsZero reports whether id is no name.
func (id Ident) IsZero() bool { return len(id.parts) == 0 }

// Last returns the part behind the qualifiers: the bare name of the table or the column.
func (id Ident) Last() string { return id.parts[len(id.parts)-1] }

// Qualifier returns the part before the last one, the schema, or "" if there is none.
func (id Ident) Qualifier() string {
	if len(id.parts) < 2 {
		return ""
	}
	return id.parts[len(id.parts)-2]
}
