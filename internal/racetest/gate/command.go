package gate

import "strings"

// kindOf returns what the text of a single statement does to its transaction, or 0 if it neither begins nor ends one. Several
// statements in one text are not looked at.
func kindOf(query string) Kind {
	words := firstWords(query)
	switch words[0] {
	case "BEGIN":
		if words[1] != "NOT" { // BEGIN NOT ATOMIC is a block of MariaDB's
			return Begin
		}
	case "START":
		if words[1] == "TRANSACTION" {
			return Begin
		}
	case "COMMIT", "END":
		if words[1] != "PREPARED" {
			return Commit
		}
	case "ROLLBACK", "ABORT":
		if words[1] == "WORK" || words[1] == "TRANSACTION" || words[1] == "TRAN" {
			words[1] = words[2]
		}
		if words[1] != "TO" && words[1] != "PREPARED" {
			return Rollback
		}
	}
	return 0
}

// firstWords returns the first three words of a single statement in capitals, without the comments before it. They are empty where
// there are less, or several statements.
func firstWords(query string) (words [3]string) {
	query = strings.TrimRight(afterComments(query), "; \t\r\n")
	if strings.Contains(query, ";") {
		return words
	}
	copy(words[:], strings.Fields(strings.ToUpper(query[:min(len(query), 80)])))
	return words
}

// afterComments returns the statement without the white space and the comments at its start.
func afterComments(query string) string {
	for {
		query = strings.TrimLeft(query, " \t\r\n")
		var rest string
		found := false
		switch {
		case strings.HasPrefix(query, "--"), strings.HasPrefix(query, "#"):
			_, rest, found = strings.Cut(query, "\n")
		case strings.HasPrefix(query, "/*") && !strings.HasPrefix(query, "/*!") && !strings.HasPrefix(query, "/*M!"):
			_, rest, found = strings.Cut(query, "*/")
		}
		if !found {
			return query
		}
		query = rest
	}
}

// follow notes what a statement that was executed did to its transaction.
func (s *Session) follow(done *Statement) {
	switch done.Kind {
	case Begin:
		s.inTx.Store(true)
	case Commit, Rollback:
		s.inTx.Store(strings.Contains(strings.ToUpper(done.SQL), "AND CHAIN"))
	}
}
