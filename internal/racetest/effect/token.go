package effect

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind int

const (
	word   kind = iota // a name or a keyword without quotes, in lower case
	quoted             // a name in quotes, without them
	value              // a literal or a placeholder
	mark               // one character of punctuation
)

type token struct {
	kind kind
	text string
}

func (t token) is(text string) bool { return t.kind != quoted && t.kind != value && t.text == text }

// name reports whether the token can be the name of a table.
func (t token) name() bool { return t.kind == word || t.kind == quoted }

// tokens splits SQL, without comments. Text that no server would take gives some tokens or other.
// A backslash escapes in the strings of MySQL alone.
func tokens(sql string, backslash bool) []token {
	l := lexer{rest: sql, backslash: backslash}
	for l.next() {
	}
	return l.out
}

type lexer struct {
	rest      string
	backslash bool
	out       []token
}

func (l *lexer) add(k kind, text string) { l.out = append(l.out, token{k, text}) }

// next reads one token, or skips a comment or a space. It returns false at the end.
func (l *lexer) next() bool {
	if l.rest == "" {
		return false
	}
	r, size := utf8.DecodeRuneInString(l.rest)
	switch {
	case unicode.IsSpace(r):
		l.skip(size)
	case strings.HasPrefix(l.rest, "--"), r == '#' && l.backslash:
		l.skip(until(l.rest, "\n"))
	case strings.HasPrefix(l.rest, "/*"):
		l.skip(comment(l.rest))
	case r == '\'':
		l.skip(closed(l.rest, '\'', l.backslash || l.escaped()))
		l.add(value, "")
	case r == '"' || r == '`':
		n := closed(l.rest, byte(r), false)
		l.add(quoted, strings.ToLower(strings.Trim(l.rest[:n], string(r))))
		l.skip(n)
	case r == '[' && !l.afterName():
		n := until(l.rest, "]")
		l.add(quoted, strings.ToLower(strings.Trim(l.rest[:n], "[]")))
		l.skip(n)
	case r == '$':
		l.dollar()
	case unicode.IsDigit(r), r == '?':
		l.skip(size + span(l.rest[size:], func(r rune) bool { return unicode.IsDigit(r) || unicode.IsLetter(r) || r == '.' }))
		l.add(value, "")
	case r == '_' || unicode.IsLetter(r):
		n := span(l.rest, inWord)
		l.add(word, strings.ToLower(l.rest[:n]))
		l.skip(n)
	default:
		l.add(mark, string(r))
		l.skip(size)
	}
	return true
}

func (l *lexer) skip(n int) { l.rest = l.rest[n:] }

// escaped reports whether a string comes after the E of PostgreSQL, and takes that away.
func (l *lexer) escaped() bool {
	last := len(l.out) - 1
	if last < 0 || l.out[last] != (token{word, "e"}) {
		return false
	}
	l.out = l.out[:last]
	return true
}

// afterName reports whether a bracket is that of an array.
func (l *lexer) afterName() bool {
	return len(l.out) > 0 && (l.out[len(l.out)-1].name() || l.out[len(l.out)-1].is("]") || l.out[len(l.out)-1].is(")"))
}

// dollar reads $1 or $tag$ text $tag$.
func (l *lexer) dollar() {
	n := 1 + span(l.rest[1:], inWord)
	if n < len(l.rest) && l.rest[n] == '$' && (n == 1 || !unicode.IsDigit(rune(l.rest[1]))) {
		tag := l.rest[:n+1]
		n = len(tag) + until(l.rest[len(tag):], tag)
	}
	l.skip(n)
	l.add(value, "")
}

func inWord(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// span returns the length of the prefix whose runes all satisfy ok.
func span(s string, ok func(rune) bool) int {
	if n := strings.IndexFunc(s, func(r rune) bool { return !ok(r) }); n >= 0 {
		return n
	}
	return len(s)
}

// until returns the length of s up to the end of the first stop, or all of it.
func until(s, stop string) int {
	if i := strings.Index(s, stop); i >= 0 {
		return i + len(stop)
	}
	return len(s)
}

// closed returns the length of a quoted text, in which the quote is doubled to stand for itself.
func closed(s string, quote byte, backslash bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && backslash:
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

// comment returns the length of a comment, which may have others in it on PostgreSQL.
func comment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}
