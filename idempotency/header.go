package idempotency

import (
	"net/http"
	"regexp"
	"strings"
)

// structuredString matches a field whose value is an Item that is a String, with parameters or without: sections 3.3, 3.1.2 and
// 4.2 of RFC 9651. Its one group is what stands between the quotes.
var structuredString = regexp.MustCompile(`^ *"((?:[ !#-\[\]-~]|\\["\\])*)"` +
	`(?:; *[a-z*][a-z0-9_\-.*]*(?:=(?:` + strings.Join([]string{
	`-?[0-9]{1,15}`, `-?[0-9]{1,12}\.[0-9]{1,3}`, `"(?:[ !#-\[\]-~]|\\["\\])*"`, `[A-Za-z*][!#$%&'*+\-.^_|~0-9A-Za-z:/` + "`" + `]*`,
	`:[A-Za-z0-9+/=]*:`, `\?[01]`, `@-?[0-9]{1,15}`, `%"(?:[ !#$&-~]|%[0-9a-f]{2})*"`,
}, "|") + `))?)* *$`)

var unescape = strings.NewReplacer(`\"`, `"`, `\\`, `\`)

// keyOf returns the value of the header field Idempotency-Key. A field that comes several times is one value with commas, which
// is not valid.
func keyOf(header http.Header) (key string, found, valid bool) {
	values := header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", false, false
	}
	match := structuredString.FindStringSubmatch(strings.Join(values, ", "))
	if match == nil || match[1] == "" {
		return "", true, false
	}
	return unescape.Replace(match[1]), true, true
}
