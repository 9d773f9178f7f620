package dialect

import "strings"

// Quote returns the name quoted for the server.
func (s Server) Quote(id Ident) string {
	var b strings.Builder
	for i, p := range id.parts {
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s.quote)
		b.WriteString(strings.ReplaceAll(p, s.quote, s.quote+s.quote))
		b.WriteString(s.quote)
	}
	return b.String()
}

// QuoteAll returns the names quoted for the server and separated by commas.
func (s Server) QuoteAll(ids []Ident) string {
	quoted := make([]string, len(ids))
	for i, id := range ids {
		quoted[i] = s.Quote(id)
	}
	return strings.Join(quoted, ", ")
}
