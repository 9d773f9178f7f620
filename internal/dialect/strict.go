package dialect

import (
	"fmt"
	"strings"
)

// Strictly returns the server whose statements that write a value refuse one that does not fit its column, as the others do,
// although the session would store what is left of it. mode is the Look's StrictMode.
//
// The statement alone gets another sql_mode: it costs no round trip, and the session is left as it is.
// https://dev.mysql.com/doc/refman/8.4/en/optimizer-hints.html#optimizer-hints-set-var
// https://mariadb.com/docs/server/reference/sql-statements/administrative-sql-statements/set-commands/set-statement
func (s Server) Strictly(mode string) (Server, error) {
	switch {
	case mode == "":
		return s, nil
	case s.inMode == "":
		return s, fmt.Errorf("the sql_mode of the session is not strict, so that %v would store what is left of a value that does not "+
			"fit: add STRICT_TRANS_TABLES to it, in the DSN for example", s)
	}
	strict := *s.Capabilities
	strict.mode = mode
	s.Capabilities = &strict
	return s, nil
}

// strictly returns the template of a statement in the sql_mode of Strictly.
func (s Server) strictly(template string) string {
	command, rest, _ := strings.Cut(template, " ")
	if s.mode == "" || command != "INSERT" && command != "UPDATE" {
		return template
	}
	return fmt.Sprintf(s.inMode, s.mode, command, rest)
}
