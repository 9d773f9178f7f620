// Package godoc checks the documentation of the public packages: what a caller must know about errors, contexts and
// examples is there. It reads the source, so it needs no server.
package godoc

import (
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/nogap-go/nogap"

// Every exported function and method says which errors it returns and what the end of its context does, in its own
// words or by a link to the documentation that says it.
func TestCallsNameTheirErrorsAndTheEndOfTheContext(t *testing.T) {
	m := nogap(t)
	calls := 0
	for _, c := range m.calls() {
		calls++
		for _, missing := range m.missing(c) {
			t.Errorf("%s: %s", c, missing)
		}
	}
	require.Greater(t, calls, 100, "the packages were not found")
}

// A call that may wait or fail has an example that runs, under its own name.
func TestCallsHaveExamples(t *testing.T) {
	m := nogap(t)
	for _, c := range m.calls() {
		if c.takesContext && c.returnsError && !m.packages[c.path].examples[c.example()] {
			t.Errorf("%s: there is no func Example%s with an Output", c, c.example())
		}
	}
	for path, p := range m.packages {
		if !p.examples[""] {
			t.Errorf("%s: there is no func Example with an Output for the page of the package", path)
		}
	}
}

// Every exported name has a documentation.
func TestNamesAreDocumented(t *testing.T) {
	for _, p := range nogap(t).packages {
		for name, text := range p.texts {
			if strings.TrimSpace(text) == "" {
				t.Errorf("%s: %q is not documented", p.path, name)
			}
		}
	}
}

// What is not there can't be returned.
func TestErrorsInDocumentationExist(t *testing.T) {
	m := nogap(t)
	for _, p := range m.packages {
		for name := range p.texts {
			for _, s := range p.sentences(name) {
				for _, e := range named.FindAllString(s.text, -1) {
					if !m.declared(p, e) {
						t.Errorf("%s: the documentation of %q names %s, which does not exist", p.path, name, e)
					}
				}
			}
		}
	}
}

// A page of docs/ that is named in a text is a link to it, and exists.
func TestPagesInDocumentationAreLinked(t *testing.T) {
	for _, p := range nogap(t).packages {
		for name, text := range p.texts {
			for _, s := range p.sentences(name) {
				for _, page := range pages.FindAllString(s.text, -1) {
					t.Errorf("%s: the documentation of %q names %s without a link", p.path, name, page)
				}
			}
			for _, link := range p.Parser().Parse(text).Links {
				if page, found := strings.CutPrefix(link.URL, "https://"+module+"/blob/main/"); found {
					assert.FileExists(t, filepath.Join("../..", page), "linked in %s", p.path)
				}
			}
		}
	}
}

// The rules find what they are for.
func TestRules(t *testing.T) {
	const source = `
// Package p is for the test. If a context ends, its call returns the context's error.
package p

import ("context"; "errors")

// ErrFull is returned when there is no room.
var ErrFull = errors.New("full")

// Box holds things. ErrFull is returned when it can't hold one more. If ctx ends first, nothing is put in.
type Box struct{}

`
	const (
		plain, number, waits = "func Put() error", "func Put() (int, error)", "func Put(ctx context.Context) error"
		full                 = "Put returns ErrFull when there is no room. "

		noCondition = "names no error, and no condition of one"
		noError     = "names no error that exists"
		noEnd       = "does not say what the end of the context does"
	)
	for name, c := range map[string]struct{ declaration, text, missing string }{
		"nothing is said":             {plain, "Put puts.", noCondition},
		"empty words":                 {plain, "Put returns an error if it fails.", noCondition},
		"empty words about a number":  {number, "Put returns a number and an error, if any.", noCondition},
		"empty words about something": {plain, "Put returns an error if something goes wrong.", noCondition},
		"a condition":                 {plain, "Put returns an error if the box is nil.", ""},
		"an error":                    {plain, full, ""},

		"all is said":               {waits, full + "If ctx ends, it returns ctx's error.", ""},
		"by a link":                 {waits, "Put puts. See [Box] for its errors and for the end of ctx.", ""},
		"by the package":            {waits, full + "For the end of ctx see the package documentation.", ""},
		"no error, but a condition": {waits, "Put returns an error if the box is nil, or if ctx ends.", noError},
		"an error that is nowhere":  {waits, "Put returns ErrEmpty. If ctx ends, it returns ctx's error.", noError},
		"no context":                {waits, full, noEnd},
		"no end of the context":     {waits, full + "A nil ctx is an error.", noEnd},
		"an end without an effect":  {waits, full + "It has to do with the end of ctx.", noEnd},
		"a link for another reason": {waits, full + "It is for a [Box].", noEnd},
		"a link to nothing":         {waits, full + "For the end of ctx see [Chest].", noEnd},
		"a link in a circle":        {waits, full + "For the end of ctx see [Put].", noEnd},

		"not exported": {"func put(ctx context.Context) error", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := source + "// " + c.text + "\n" + c.declaration + " { panic(0) }\n"
			require.NoError(t, os.WriteFile(filepath.Join(dir, "p.go"), []byte(file), 0o644))
			m, err := load(dir)
			require.NoError(t, err)
			var missing []string
			for _, call := range m.calls() {
				missing = append(missing, m.missing(call)...)
			}
			require.Equal(t, c.missing, strings.Join(missing, "; "))
		})
	}
}

// pkg is the documentation of a package.
type pkg struct {
	*doc.Package
	path     string
	texts    map[string]string // by what they document: "", "Counter", "Counter.Decrement"
	errors   map[string]bool   // the exported names that begin with Err or end in Error
	examples map[string]bool   // those with an Output, by what follows Example in their names
	calls    []call
}

// call is an exported function or method.
type call struct {
	path, name                 string // "Coalesce", "Counter.Decrement"
	takesContext, returnsError bool
}

func (c call) String() string  { return strings.TrimPrefix(c.path, path.Dir(module)+"/") + "." + c.name }
func (c call) example() string { return strings.ReplaceAll(c.name, ".", "_") }

// packages are those of a module that others can import, by their import paths.
type packages struct{ packages map[string]*pkg }

var loadOnce = sync.OnceValues(func() (packages, error) { return load("../..") })

// nogap returns the packages of this module.
func nogap(t *testing.T) packages {
	m, err := loadOnce()
	require.NoError(t, err)
	return m
}

// load reads the packages below a directory.
func load(root string) (packages, error) {
	m := packages{map[string]*pkg{}}
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if dir != root {
			_, err := os.Stat(filepath.Join(dir, "go.mod")) // another module
			if err == nil || d.Name() == "internal" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
		}
		relative, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		p, err := read(dir, path.Join(module, filepath.ToSlash(relative)))
		if err != nil {
			return err
		}
		if p != nil && p.Name != "main" {
			m.packages[p.path] = p
		}
		return nil
	})
	return m, err
}

// read returns the documentation of the package in a directory; nil if there is none.
func read(dir, importPath string) (*pkg, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	var files []*ast.File
	source := false
	for _, name := range names {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		source = source || !strings.HasSuffix(name, "_test.go")
	}
	if !source {
		return nil, nil
	}
	d, err := doc.NewFromFiles(fset, files, importPath)
	if err != nil {
		return nil, err
	}
	p := &pkg{d, importPath, map[string]string{"": d.Doc}, map[string]bool{}, map[string]bool{}, nil}
	p.addExamples("", d.Examples)
	p.addFuncs(d.Funcs)
	p.addValues(d.Consts, d.Vars)
	for _, typ := range d.Types {
		p.texts[typ.Name] = typ.Doc
		if strings.HasSuffix(typ.Name, "Error") {
			p.errors[typ.Name] = true
		}
		p.addExamples(typ.Name, typ.Examples)
		p.addFuncs(typ.Funcs)
		p.addFuncs(typ.Methods)
		p.addValues(typ.Consts, typ.Vars)
	}
	return p, nil
}

func (p *pkg) addExamples(name string, examples []*doc.Example) {
	for _, e := range examples {
		if e.Output != "" || e.EmptyOutput {
			p.examples[strings.ReplaceAll(name, ".", "_")] = true
		}
	}
}

func (p *pkg) addValues(lists ...[]*doc.Value) {
	for _, list := range lists {
		for _, v := range list {
			p.texts[strings.Join(v.Names, ", ")] = v.Doc
			for _, name := range v.Names {
				if strings.HasPrefix(name, "Err") {
					p.errors[name] = true
				}
			}
		}
	}
}

func (p *pkg) addFuncs(funcs []*doc.Func) {
	for _, f := range funcs {
		c := call{path: p.path, name: f.Name}
		if f.Recv != "" {
			receiver, _, _ := strings.Cut(strings.TrimPrefix(f.Recv, "*"), "[")
			c.name = receiver + "." + f.Name
		}
		for _, field := range f.Decl.Type.Params.List {
			s, ok := field.Type.(*ast.SelectorExpr)
			c.takesContext = c.takesContext || ok && s.Sel.Name == "Context"
		}
		if results := f.Decl.Type.Results; results != nil && f.Name != "Unwrap" { // whose error is no failure
			last, ok := results.List[len(results.List)-1].Type.(*ast.Ident)
			c.returnsError = ok && last.Name == "error"
		}
		p.texts[c.name] = f.Doc
		p.calls = append(p.calls, c)
		p.addExamples(c.name, f.Examples)
	}
}

func (m packages) calls() []call {
	var all []call
	for _, p := range m.packages {
		all = append(all, p.calls...)
	}
	return all
}

var (
	named = regexp.MustCompile(`\b(?:[a-z]\w*\.)?(?:Err[A-Z]\w*|[A-Z]\w*Error\b)`)
	// others are the errors of other modules that the documentation names.
	others = map[string]bool{"sql.ErrNoRows": true, "http.ErrNotSupported": true}

	aboutErrors    = regexp.MustCompile(`(?i)\berrors?\b|\bnil\b`)
	condition      = regexp.MustCompile(`\b(if|when|for|unless|after|always)\b`)
	emptyCondition = regexp.MustCompile(
		`\b((if|when) (it|this|that|the call) fails|if any|on failure|(if|when) (some|any)thing \w+ wrong\.?$)`)

	aboutContexts = regexp.MustCompile(`\bctx\b|(?i)\bcontexts?\b`)
	end           = regexp.MustCompile(`\b(ends?|ended|cancel(led|s)?|deadline)\b`)
	effect        = regexp.MustCompile(`\b(errors?|returns?|rolled|waits?|attempts?|nothing|changes|at once|even if)\b`)

	pages      = regexp.MustCompile(`docs/[\w-]+\.md`)
	packageDoc = regexp.MustCompile(`(?i)package documentation`)
)

// missing returns what the documentation of a call does not say.
func (m packages) missing(c call) []string {
	var missing []string
	namesError := func(p *pkg, sentence string) bool {
		for _, e := range named.FindAllString(sentence, -1) {
			if m.declared(p, e) {
				return true
			}
		}
		return false
	}
	saysWhen := func(p *pkg, sentence string) bool {
		return namesError(p, sentence) ||
			aboutErrors.MatchString(sentence) && condition.MatchString(sentence) && !emptyCondition.MatchString(sentence)
	}
	saysEnd := func(_ *pkg, sentence string) bool {
		return aboutContexts.MatchString(sentence) && end.MatchString(sentence) && effect.MatchString(sentence)
	}
	switch {
	case c.returnsError && c.takesContext && !m.says(c.path, c.name, aboutErrors, namesError, nil):
		missing = append(missing, "names no error that exists")
	case c.returnsError && !c.takesContext && !m.says(c.path, c.name, aboutErrors, saysWhen, nil):
		missing = append(missing, "names no error, and no condition of one")
	}
	if c.takesContext && !m.says(c.path, c.name, aboutContexts, saysEnd, nil) {
		missing = append(missing, "does not say what the end of the context does")
	}
	return missing
}

// declared reports whether an error that is named in a package, such as ErrLimit or nogap.ErrNotUnique, exists.
func (m packages) declared(p *pkg, name string) bool {
	if others[name] {
		return true
	}
	if qualifier, rest, found := strings.Cut(name, "."); found {
		for _, other := range m.packages {
			if other.Name == qualifier && other.errors[rest] {
				return true
			}
		}
		return false
	}
	return p.errors[name]
}

// says reports whether the documentation of something has a sentence of the wanted kind, or a sentence about the subject
// with a link to documentation that has one. seen is what the links have led through.
func (m packages) says(path, name string, subject *regexp.Regexp, wanted func(*pkg, string) bool, seen []string) bool {
	p := m.packages[path]
	if p == nil {
		return false
	}
	for _, s := range seen {
		if s == path+"."+name {
			return false
		}
	}
	seen = append(seen, path+"."+name)
	for _, s := range p.sentences(name) {
		if wanted(p, s.text) {
			return true
		}
		if !subject.MatchString(s.text) {
			continue
		}
		if packageDoc.MatchString(s.text) && m.says(path, "", subject, wanted, seen) {
			return true
		}
		for _, link := range s.links {
			target := link.ImportPath
			if target == "" {
				target = path
			}
			name := link.Name
			if link.Recv != "" {
				name = link.Recv + "." + name
			}
			if m.says(target, name, subject, wanted, seen) {
				return true
			}
		}
	}
	return false
}

type sentence struct {
	text  string
	links []*comment.DocLink
}

// sentences returns those of a text, without its code.
func (p *pkg) sentences(name string) []sentence {
	var all []sentence
	var add func(blocks []comment.Block)
	add = func(blocks []comment.Block) {
		for _, block := range blocks {
			switch block := block.(type) {
			case *comment.Paragraph:
				all = append(all, split(block.Text)...)
			case *comment.List:
				for _, item := range block.Items {
					add(item.Content)
				}
			}
		}
	}
	add(p.Parser().Parse(p.texts[name]).Content)
	return all
}

var stop = regexp.MustCompile(`[.;]\s+`)

// split returns the sentences of a paragraph.
func split(texts []comment.Text) []sentence {
	all := []sentence{{}}
	for _, text := range texts {
		last := &all[len(all)-1]
		switch text := text.(type) {
		case comment.Plain:
			for i, part := range stop.Split(string(text), -1) {
				if i > 0 {
					all = append(all, sentence{})
					last = &all[len(all)-1]
				}
				last.text += part
			}
		case *comment.DocLink:
			last.links = append(last.links, text)
			for _, t := range text.Text {
				if t, ok := t.(comment.Plain); ok {
					last.text += string(t)
				}
			}
		}
	}
	return all
}
