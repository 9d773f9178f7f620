package atomic

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nogap-go/nogap/internal/dialect"
	"github.com/nogap-go/nogap/internal/option"
)

// Where is a further guard over the other columns of the row, in the database's own SQL:
//
//	used, err := atomic.NewCounter[int64](db, "coupons", "used", atomic.Where("used < usage_limit AND deleted_at IS NULL"))
//
// A change happens only if the method's own guard and the condition both hold for the row at the moment of the write.
// So a limit in another column is never exceeded, even if somebody lowers it meanwhile. A condition that is NULL
// refuses, like one that is false. If only the condition refuses, the error is ErrConditionFailed, inside a
// *RefusedError. If the method's guard refuses, it is the method's error.
//
// The condition is a constant of the program. It must never be built from input: it is sent as it is, in brackets. It
// takes no values, and may use the columns of the row only: for a subquery the promise about the moment of the write
// does not hold. The constructor returns an error for a condition that is blank, that has a placeholder, a comment, a
// semicolon or a backslash, or whose brackets or quotes are not balanced. Only the server knows whether the rest is
// SQL.
//
// The option is for Counter, State and SingleUse. In a Counter it guards every row that a method changes, also those
// of DecrementAll, IncrementAll and Transfer. Every method of a Coalescer of such a Counter returns an error, since a
// merged statement would look at the condition once for all its calls.
func Where(condition string) Option {
	return tableOption(option.Option[options]{Name: "Where", Set: func(o *options) error {
		if err := checkCondition(condition); err != nil {
			return fmt.Errorf("Where(%q): %w", condition, err)
		}
		o.where = "(" + dialect.Literal(condition) + ")"
		return nil
	}})
}

// checkCondition returns an error if a text, put in brackets, may not stay there on one of the servers. It errs on the
// side of refusing: what one of them takes for a comment or a quote, it takes for one everywhere.
func checkCondition(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("the condition is blank")
	}
	for depth, rest := 0, text; ; {
		i := strings.IndexAny(rest, "()'\"`;\\?$:@#-/\x00")
		if i < 0 {
			if depth > 0 {
				return errors.New("a bracket is not closed")
			}
			return nil
		}
		before, at := rest[:i], rest[i:]
		n := 1
		var err error
		switch at[0] {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				err = errors.New("it closes a bracket that it has not opened")
			}
		case '\'', '"', '`':
			n, err = quoted(at)
		default:
			n, err = symbol(before, at)
		}
		if err != nil {
			return err
		}
		rest = at[n:]
	}
}

// quoted returns the length of a quoted text or name. A doubled quote in it is seen as two that stand side by side.
func quoted(at string) (n int, err error) {
	end := strings.IndexByte(at[1:], at[0])
	if end < 0 {
		return 0, fmt.Errorf("the quote %c is not closed", at[0])
	}
	inner := at[1 : 1+end]
	switch {
	case strings.ContainsAny(inner, "\\\x00"):
		return 0, errors.New("a backslash ends or escapes something on some servers only")
	case at[0] == '`': // which is no quote for PostgreSQL
		if _, err := dialect.Column(inner); err != nil {
			return 0, err
		}
	}
	return end + 2, nil
}

// symbol looks at what may begin a placeholder, a comment or another statement. It returns its length if it does not.
func symbol(before, at string) (n int, err error) {
	next := byte(' ')
	if len(at) > 1 {
		next = at[1]
	}
	isName := next == '_' || '0' <= next && next <= '9' || 'a' <= next|0x20 && next|0x20 <= 'z' || next >= 0x80
	switch at[0] {
	case ';':
		return 0, errors.New("it holds a semicolon")
	case '\\':
		return 0, errors.New("a backslash ends or escapes something on some servers only")
	case '\x00':
		return 0, errors.New("it holds a NUL")
	case '#':
		return 0, errors.New("it holds a comment: #")
	case '-':
		if next == '-' {
			return 0, errors.New("it holds a comment: --")
		}
	case '/':
		if next == '*' {
			return 0, errors.New("it holds a comment: /*")
		}
	case ':':
		if next == ':' { // a cast of PostgreSQL's
			return 2, nil
		}
		return 0, errors.New("it holds a placeholder, which no value is bound to: ':'")
	case '@':
		if isName || next == '`' || next == '\'' || next == '"' {
			return 0, errors.New("it holds a placeholder or a variable: '@'")
		}
	case '?', '$':
		return 0, fmt.Errorf("it holds a placeholder, which no value is bound to: '%c'", at[0])
	}
	return 1, nil
}
