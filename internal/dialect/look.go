package dialect

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"strings"
	"time"
)

// Commands are statements that write, as flags.
type Commands int

// The commands.
const (
	Insert Commands = 1 << iota
	Update
	Delete
)

// String returns the commands in SQL.
func (c Commands) String() string {
	var names []string
	for i, name := range []string{"INSERT", "UPDATE", "DELETE"} {
		if c&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// Look is what a server says of a table, or of a view, at its first use. What it does not say for lack of rights is as if
// there were nothing against it.
type Look struct {
	// Listed is false for a table that is not there, and for a temporary one where the server does not list those.
	Listed bool
	// Diverted are the commands in whose place a trigger or a rule has something else done.
	Diverted Commands
	// Unlockable: a SELECT of this view locks no rows.
	Unlockable bool
	// Engine is one without transactions, which Behind, a table behind the view, has; else empty. The zero Behind is the
	// table itself.
	Engine string
	Behind Ident
	// Type is that of the version column; empty if there is none or it is not listed. See KeepsMicroseconds and IsNumber.
	Type string
	// CutsTimes: the driver sends two times that differ by a microsecond as one.
	CutsTimes bool
	// Rewrites: an UPDATE may store another value than the statement itself can tell, because of a trigger.
	Rewrites bool
	// Early: triggers could not be looked for; see Question. A look over a connection of the pool finds them.
	Early bool
	// MeddlesInserts: an INSERT may end without an error and without a row that is seen: a trigger drops it, a view or a policy
	// hides it. On MySQL and MariaDB, which tell nothing of what was stored: a trigger may store something else.
	MeddlesInserts bool
	// StrictMode is the sql_mode in which statements refuse a value that does not fit; empty if they do so anyway. See Strictly.
	StrictMode string
	// Returns: RETURNING gives a row for each one that is written, before the commit. So a session that ended before any row came
	// has written none.
	Returns bool
	// Lasts: other sessions would be told the same. It is false for a temporary table, and for a name of several tables
	// that differ.
	Lasts bool
}

// LookMark ends the statements of the first look, so that those who read a log know where they come from.
const LookMark = " /* nogap looks once */"

// maxBehind bounds how many tables and views behind a view are looked at.
const maxBehind = 100

// Question is what a look asks besides.
type Question struct {
	Version *Ident // the column whose type is asked for; nil if none is
	Times   bool   // whether the driver cuts times
	// Early: the look comes first in a transaction that goes on, and must not fix what that sees.
	Early bool
}

// Look asks what a table is. It needs no rights, and fails only if r does.
func (s Server) Look(ctx context.Context, r Reader, table Ident, q Question) (Look, error) {
	at := s.lookAt
	if q.Early && s.catalogFixesSnapshot {
		at = s.show
	}
	look, view, err := at(ctx, r, table, q)
	seen := map[string]bool{table.String(): true}
	for behind := tablesIn(view); err == nil && len(behind) > 0 && len(seen) < maxBehind; behind = behind[1:] {
		name := behind[0].String()
		if seen[name] {
			continue
		}
		seen[name] = true
		var inner Look
		inner, view, err = at(ctx, r, behind[0], Question{})
		if inner.Engine != "" {
			look.Engine, look.Behind = inner.Engine, behind[0]
			return look, err
		}
		behind = append(behind, tablesIn(view)...)
	}
	return look, err
}

// lookAt asks what one table is. view is the definition of a view whose tables are to be looked at as well.
func (s Server) lookAt(ctx context.Context, r Reader, table Ident, question Question) (l Look, view string, err error) {
	q, args := s.lookQuery(table, question)
	text, bound := q.WithLiterals().Bind(args)
	l.Listed = true
	err = r.Read(ctx, text, bound, &l.Diverted, &l.Unlockable, &l.Engine, &l.Type, &l.CutsTimes, &l.Lasts, &view, &l.Rewrites,
		&l.MeddlesInserts, &l.StrictMode, &l.Returns)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Look{}, "", nil
	case err != nil:
		return Look{}, "", err
	}
	return l, view, nil
}

func (s Server) lookQuery(table Ident, q Question) (Statement, []any) {
	schema, column, cut := "{1}", "''", "0"
	if table.Qualifier() == "" && s.currentSchema != "" {
		schema = s.currentSchema
	}
	args := []any{table.Qualifier(), table.Last()}
	if q.Version != nil {
		column = "COALESCE((" + s.columnType + "), '')"
		args = append(args, q.Version.String())
	}
	if q.Times && s.driverCutsTimes {
		n := len(args)
		cut = placeholder(n+1) + " = " + placeholder(n+2)
		args = append(args, twoTimes...)
	}
	template := strings.NewReplacer("{type}", column, "{cut}", cut).Replace(s.look)
	return s.Compile(strings.ReplaceAll(template, "{schema}", schema) + LookMark), args
}

// twoTimes are as close as times come.
var twoTimes = []any{time.Date(2001, 2, 3, 4, 5, 6, 7000, time.UTC), time.Date(2001, 2, 3, 4, 5, 6, 8000, time.UTC)}

// namesOfView matches the tables in the definition of a view, as MySQL and MariaDB write it; with sql_mode ANSI_QUOTES in
// double quotes. A name that is not qualified is that of a table in the current schema.
var namesOfView = regexp.MustCompile(`(?i)\b(?:from|join)[\s(]+` + quotedName + `(?:\.` + quotedName + `)?`)

const quotedName = "(`(?:[^`]|``)+`|\"(?:[^\"]|\"\")+\")"

func tablesIn(view string) (tables []Ident) {
	for _, m := range namesOfView.FindAllStringSubmatch(view, -1) {
		table := Ident{[]string{unquote(m[1])}}
		if m[2] != "" {
			table.parts = append(table.parts, unquote(m[2]))
		}
		tables = append(tables, table)
	}
	return tables
}

func unquote(name string) string {
	quote := name[:1]
	return strings.ReplaceAll(name[1:len(name)-1], quote+quote, quote)
}
