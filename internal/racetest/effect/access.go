package effect

import (
	"slices"
	"strings"
)

// Access is what one statement does to tables.
type Access struct {
	Reads  Set
	Locks  Set // what it locks without writing it
	Writes Set
	// Inserts reports whether it adds rows.
	Inserts bool
	// Opaque reports whether it may do anything: all of its sets are All.
	Opaque bool
}

// Anything is what a step does of which nothing is known.
func Anything() Access { return Access{Reads: All(), Locks: All(), Writes: All(), Opaque: true} }

// Dialect is what effects depend on.
type Dialect struct {
	// Backslash escapes in strings (MySQL, MariaDB).
	Backslash bool
	// LockingReads: a statement that writes locks what it reads too (InnoDB under REPEATABLE READ).
	LockingReads bool
	// OneLock: the whole database has one write lock and is read as of one moment (SQLite).
	OneLock bool
	// Tables are those of the database, by their names in lower case. If it is not nil, other names stand for what may do anything: a view
	// reads other tables, or more.
	Tables map[string]Table
}

// Table is what effects depend on of a table.
type Table struct {
	// Related are the tables that it refers to, and those that refer to it: a foreign key locks and reads them.
	Related []string
	// Cascades are those of them whose rows are changed or deleted with its own.
	Cascades []string
	// Triggers: to write it may do anything.
	Triggers bool
}

// system reports whether a name is that of a table which only the server itself changes.
func system(name string) bool {
	return strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "sqlite_") || strings.HasPrefix(name, "pragma_")
}

// known adds what the tables of a statement bring along. It returns false if one of them may do anything.
func (d Dialect) known(a *Access) bool {
	if d.Tables == nil {
		return true
	}
	for rest := a.Writes.Names(); len(rest) > 0; rest = rest[1:] {
		for _, name := range d.Tables[rest[0]].Cascades {
			if !a.Writes.Meets(Of(name)) {
				a.Writes.add(name)
				rest = append(rest, name)
			}
		}
	}
	for _, name := range a.Reads.Union(a.Writes).Union(a.Locks).Names() {
		if t, ok := d.Tables[name]; !system(name) && (!ok || t.Triggers && a.Writes.Meets(Of(name))) {
			return false
		}
	}
	for _, name := range a.Writes.Names() {
		related := Of(d.Tables[name].Related...)
		a.Reads, a.Writes = a.Reads.Union(related), a.Writes.Union(related)
	}
	return true
}

// Catalog is what a statement does that reads tables which only the server itself changes, and calls functions of which that is known.
func (d Dialect) Catalog() Access {
	a := Access{Reads: Of("pg_catalog")}
	if d.OneLock {
		a.Reads = whole(a.Reads)
	}
	return a
}

// Parse returns what a statement does.
func (d Dialect) Parse(sql string) Access {
	p := parser{tokens: tokens(sql, d.Backslash), ctes: map[string]bool{}}
	p.parse()
	a := p.access
	if a.Opaque || !d.known(&a) {
		a = Anything()
		a.Inserts = p.access.Inserts
		return a
	}
	if !a.Writes.Empty() {
		a.Reads = a.Reads.Union(a.Writes)
		if d.LockingReads {
			a.Locks = a.Locks.Union(a.Reads)
		}
	}
	if d.OneLock {
		a.Reads, a.Writes, a.Locks = whole(a.Reads), whole(a.Writes), Set{}
	}
	return a
}

// whole widens a set to the whole database.
func whole(s Set) Set {
	if s.Empty() {
		return s
	}
	return All()
}

type parser struct {
	tokens []token
	at     int
	ctes   map[string]bool
	access Access
	sets   int // how many of the statement's own words write
}

// harmless begin statements that touch no table.
var harmless = []string{"savepoint", "release", "show", "begin", "start", "commit", "end", "abort", "rollback"}

func (p *parser) parse() {
	for len(p.tokens) > 0 && p.tokens[len(p.tokens)-1].is(";") {
		p.tokens = p.tokens[:len(p.tokens)-1]
	}
	if len(p.tokens) == 0 {
		return
	}
	switch first := p.tokens[0]; {
	case first.is("rollback") && p.has("to"):
		p.access.Opaque = true // gives locks back
	case first.kind == word && slices.Contains(harmless, first.text):
	case first.is("set"):
		p.access.Opaque = p.has("transaction") || p.has("characteristics")
	case first.is("pragma"):
		p.access.Opaque = p.has("=")
	case first.is("("), first.is("select"), first.is("values"), first.is("with"), slices.ContainsFunc(writes, first.is):
		p.statement()
	default:
		p.access.Opaque = true
	}
}

// has reports whether a word or a character is anywhere in the statement.
func (p *parser) has(text string) bool {
	return slices.ContainsFunc(p.tokens, func(t token) bool { return t.is(text) })
}

func (p *parser) peek(ahead int) token {
	if i := p.at + ahead; i >= 0 && i < len(p.tokens) {
		return p.tokens[i]
	}
	return token{kind: mark}
}

// statement goes through the tokens once and collects the tables.
func (p *parser) statement() {
	p.findCTEs()
	for p.at = 0; p.at < len(p.tokens) && !p.access.Opaque; p.at++ {
		t := p.peek(0)
		switch {
		case t.is(";"):
			p.access.Opaque = true // several statements
		case t.kind == word:
			p.keyword(t.text)
		case t.kind == quoted && p.peek(1).is("(") && !p.afterTable():
			p.function()
		}
	}
	if p.sets == 0 && slices.ContainsFunc(writes, p.tokens[0].is) {
		p.access.Opaque = true // MySQL takes INSERT without INTO
	}
}

// writes begin statements that write a table.
var writes = []string{"insert", "replace", "update", "delete", "truncate"}

// findCTEs collects the names of WITH name [(columns)] AS (…).
func (p *parser) findCTEs() {
	if !p.has("with") {
		return
	}
	for i, t := range p.tokens {
		if !t.is("as") || i == 0 {
			continue
		}
		next := i + 1
		for next < len(p.tokens) && (p.tokens[next].is("not") || p.tokens[next].is("materialized")) {
			next++
		}
		if next >= len(p.tokens) || !p.tokens[next].is("(") {
			continue
		}
		name := i - 1
		if p.tokens[name].is(")") {
			for name > 0 && !p.tokens[name].is("(") {
				name--
			}
			name--
		}
		if name > 0 && p.tokens[name].name() && (p.tokens[name-1].is("with") || p.tokens[name-1].is("recursive") || p.tokens[name-1].is(",")) {
			p.ctes[p.tokens[name].text] = true
		}
	}
}

// keyword handles a word outside quotes.
func (p *parser) keyword(text string) {
	switch text {
	case "from":
		p.from()
	case "join", "straight_join":
		p.read(1)
	case "using": // DELETE … USING t; a JOIN has columns there
		if !p.peek(1).is("(") {
			p.list(1)
		}
	case "into":
		p.into()
	case "update":
		p.update()
	case "truncate":
		if p.peek(1).is("table") {
			p.at++
		}
		p.write(1)
		p.access.Opaque = true // waits for readers too, and on MySQL commits
	case "for", "lock":
		p.lock(text)
	case "merge", "copy", "call", "do", "execute":
		p.access.Opaque = p.access.Opaque || p.at == 0
	default:
		if p.peek(1).is("(") && !p.afterTable() {
			p.function()
		}
	}
}

// withFrom are functions in whose brackets FROM has another meaning.
var withFrom = []string{"extract", "substring", "trim", "overlay", "position"}

// from handles FROM. DELETE FROM writes.
func (p *parser) from() {
	switch {
	case p.peek(-1).is("distinct") && (p.peek(-2).is("is") || p.peek(-2).is("not")), p.inCallOf(withFrom):
	case p.peek(-1).is("delete"):
		p.write(1)
	case p.tokens[0].is("delete") && p.depth() == 0: // DELETE a, b FROM a JOIN b
		for _, name := range p.list(1) {
			p.access.Writes.add(name)
		}
		p.sets++
	default:
		p.list(1)
	}
}

// inCallOf reports whether the nearest open bracket is that of one of the functions.
func (p *parser) inCallOf(functions []string) bool {
	depth := 0
	for i := p.at - 1; i > 0; i-- {
		switch t := p.tokens[i]; {
		case t.is(")"):
			depth++
		case t.is("(") && depth > 0:
			depth--
		case t.is("("):
			return p.tokens[i-1].kind == word && slices.Contains(functions, p.tokens[i-1].text)
		}
	}
	return false
}

// depth returns how many brackets are open here.
func (p *parser) depth() (n int) {
	for _, t := range p.tokens[:p.at] {
		switch {
		case t.is("("):
			n++
		case t.is(")"):
			n--
		}
	}
	return n
}

// list handles t1 [AS] a, t2 b, …, which begins some tokens ahead, and returns the names. A JOIN in it is met again by keyword.
func (p *parser) list(ahead int) (names []string) {
	for {
		names = append(names, p.read(ahead)...)
		comma := p.comma(ahead)
		if comma == 0 {
			return names
		}
		ahead = comma + 1
	}
}

// comma returns how many tokens ahead the next comma of a list of tables is, from one of them on; 0 if that is the last one.
func (p *parser) comma(ahead int) int {
	for depth := 0; p.at+ahead < len(p.tokens); ahead++ {
		switch t := p.peek(ahead); {
		case t.is("("):
			depth++
		case t.is(")") && depth == 0:
			return 0
		case t.is(")"):
			depth--
		case depth > 0:
		case t.is(","):
			return ahead
		case t.kind == word && slices.Contains(afterList, t.text):
			return 0
		}
	}
	return 0
}

// afterList are the words that end a list of tables.
var afterList = []string{"where", "group", "order", "having", "limit", "offset", "fetch", "for", "union", "except", "intersect", "set",
	"returning", "lock", "window", "conflict", "duplicate"}

// read takes the table whose name begins some tokens ahead for one that is read. In brackets that may be a list of tables, or a statement,
// which is met anyway.
func (p *parser) read(ahead int) (names []string) {
	for p.peek(ahead).is("only") || p.peek(ahead).is("lateral") {
		ahead++
	}
	if next := p.peek(ahead + 1); p.peek(ahead).is("(") && !next.is("select") && !next.is("values") && !next.is("with") {
		return p.list(ahead + 1)
	}
	name, length := p.tableName(ahead)
	switch {
	case length == 0 || p.ctes[name]:
		return nil
	case p.peek(ahead + length).is("("): // FROM function(…)
		p.access.Opaque = p.access.Opaque || !pure(name)
		return nil
	}
	p.access.Reads.add(name)
	return []string{name}
}

// write takes the table whose name begins some tokens ahead for one that is written.
func (p *parser) write(ahead int) {
	for p.peek(ahead).is("only") || p.peek(ahead).is("low_priority") || p.peek(ahead).is("quick") || p.peek(ahead).is("ignore") {
		ahead++
	}
	name, n := p.tableName(ahead)
	if n == 0 {
		p.access.Opaque = true
		return
	}
	p.access.Writes.add(name)
	p.access.Reads.add(name)
	p.sets++
}

// tableName returns the last part of a name such as schema.table, and its length in tokens.
func (p *parser) tableName(ahead int) (name string, n int) {
	if !p.peek(ahead).name() {
		return "", 0
	}
	name, n = p.peek(ahead).text, 1
	schema := ""
	for p.peek(ahead+n).is(".") && p.peek(ahead+n+1).name() {
		schema, name, n = name, p.peek(ahead+n+1).text, n+2
	}
	if slices.Contains(systemSchemas, schema) {
		name = "pg_" + name
	}
	return name, n
}

// systemSchemas are those whose tables only the server itself changes.
var systemSchemas = []string{"information_schema", "pg_catalog", "performance_schema", "mysql", "sys"}

// into handles INSERT INTO t; SELECT … INTO makes a table or a variable.
func (p *parser) into() {
	before := p.peek(-1)
	for i := 2; before.is("ignore") || before.is("low_priority") || before.is("delayed"); i++ {
		before = p.peek(-i)
	}
	inserts := before.is("insert") || before.is("replace")
	// INSERT OR IGNORE INTO (SQLite)
	if p.peek(-2).is("or") && p.peek(-3).is("insert") {
		inserts = true
	}
	if !inserts {
		p.access.Opaque = true
		return
	}
	p.access.Inserts = true
	p.write(1)
}

// update handles UPDATE t SET, and leaves those of FOR UPDATE, ON CONFLICT DO UPDATE and ON DUPLICATE KEY UPDATE alone.
func (p *parser) update() {
	before := p.peek(-1)
	if before.is("for") || before.is("do") || before.is("key") {
		return
	}
	if p.peek(1).is("or") { // UPDATE OR IGNORE t (SQLite)
		p.at += 2
	}
	p.write(1)
	if p.tokens[0].is("update") && p.at < 4 { // UPDATE a, b SET / UPDATE a JOIN b SET: any of them may be written
		for i := p.at + 1; i < len(p.tokens) && !p.tokens[i].is("set"); i++ {
			if p.tokens[i].is(",") || p.tokens[i].is("join") {
				if name, n := p.tableName(i + 1 - p.at); n > 0 {
					p.access.Writes.add(name)
					p.access.Reads.add(name)
				}
			}
		}
	}
}

// lock handles FOR UPDATE, FOR NO KEY UPDATE, FOR SHARE, FOR KEY SHARE and LOCK IN SHARE MODE.
func (p *parser) lock(text string) {
	next := p.peek(1)
	if text == "lock" && !next.is("in") || text == "for" && !next.is("update") && !next.is("no") && !next.is("share") && !next.is("key") {
		return
	}
	p.access.Locks = p.access.Locks.Union(p.access.Reads)
}

// afterTable reports whether the name here belongs to a table's name or is one that a list of columns follows: INSERT INTO t (a), or
// the name of a CTE.
func (p *parser) afterTable() bool {
	before := p.peek(-1)
	return before.is("into") || before.is(".") && p.tableBefore() || p.ctes[p.peek(0).text] || before.is("as") || before.is("conflict")
}

// tableBefore reports whether the name that ends here began after INTO.
func (p *parser) tableBefore() bool {
	i := -1
	for p.peek(i).is(".") {
		i -= 2
	}
	return p.peek(i).is("into")
}

// function handles the name before a bracket.
func (p *parser) function() {
	if !pure(p.peek(0).text) {
		p.access.Opaque = true
	}
}
