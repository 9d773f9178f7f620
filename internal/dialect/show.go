package dialect

import (
	"context"
	"regexp"
	"strings"

	"github.com/nogap-go/nogap/internal/sqlerr"
)

// show is lookAt for a server whose catalog is made of tables of its own: to read it would fix what the transaction sees
// from then on (REPEATABLE READ), before its first statement. SHOW CREATE TABLE does not. It is refused for a table that is
// not there or that the user may not see, which does the transaction no harm.
func (s Server) show(ctx context.Context, r Reader, table Ident, q Question) (l Look, view string, err error) {
	var name, text, charset, collation string
	err = r.Read(ctx, "SHOW CREATE TABLE "+s.Quote(table)+LookMark, nil, &name, &text)
	if err != nil && !sqlerr.Of(err).Has(sqlerr.Server) && ctx.Err() == nil { // a view has more columns
		err = r.Read(ctx, "SHOW CREATE VIEW "+s.Quote(table)+LookMark, nil, &name, &view, &charset, &collation)
	}
	switch {
	// Errors that mean more are not about the table: after a deadlock the transaction is gone.
	case sqlerr.Of(err) == sqlerr.Server:
		return Look{}, "", nil
	case err != nil:
		return Look{}, "", err
	case view != "" && q.Version != nil: // whose type is in the catalog alone
		return s.lookAt(ctx, r, table, q)
	}
	l = Look{Listed: true, Early: true, Lasts: !strings.HasPrefix(text, "CREATE TEMPORARY ")}
	l.Type = typeIn(text, q.Version)
	l.Engine, err = s.engineIn(ctx, r, text)
	if err == nil {
		err = r.Read(ctx, "SELECT "+mysqlStrictMode+LookMark, nil, &l.StrictMode)
	}
	if err == nil && q.Times {
		err = r.Read(ctx, "SELECT ? = ?"+LookMark, twoTimes, &l.CutsTimes)
	}
	return l, view, err
}

var engine = regexp.MustCompile(`(?m)^\) ENGINE=(\w+)`)

// engineIn returns the engine that a CREATE TABLE names, if it has no transactions.
func (s Server) engineIn(ctx context.Context, r Reader, text string) (string, error) {
	m := engine.FindStringSubmatch(text)
	if m == nil || m[1] == "InnoDB" {
		return "", nil
	}
	var without int
	q := s.Compile("SELECT COUNT(*) FROM information_schema.ENGINES WHERE ENGINE = {1} AND TRANSACTIONS = 'NO'" + LookMark).WithLiterals()
	query, args := q.Bind([]any{m[1]})
	if err := r.Read(ctx, query, args, &without); err != nil || without == 0 {
		return "", err
	}
	return m[1], nil
}

// typeIn returns the type of a column in a CREATE TABLE.
func typeIn(text string, column *Ident) string {
	if column == nil {
		return ""
	}
	for line := range strings.Lines(text) {
		m := columnLine.FindStringSubmatch(line)
		if m != nil && strings.EqualFold(m[1], column.String()) {
			return strings.ToLower(m[2])
		}
	}
	return ""
}

var columnLine = regexp.MustCompile("^\\s+[`\"]?([^`\"]+?)[`\"]?\\s+([A-Za-z]+(?:\\([^)]*\\))?)")
