// Command api writes the exported API of the modules that programs require to text files, one for each public package, in the
// style of Go's own api/*.txt:
//
//	go run ./scripts/api api
//
// It replaces all .txt files in the directory. The files in api/ are compared with the code by .ci/run, so a change of
// the API is seen in review.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./scripts/api DIRECTORY")
		os.Exit(2)
	}
	if err := write(os.Args[1], modules); err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

// modules are the directories of those that programs require. The others hold tests and examples.
var modules = []string{".", "nogapotel"}

// write writes one file for each public package of the modules below the current directory.
func write(dir string, modules []string) error {
	packages := map[string]*types.Package{}
	for _, module := range modules {
		loaded, err := load(module, "./...")
		if err != nil {
			return err
		}
		maps.Copy(packages, loaded)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return err
	}
	for _, file := range old {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	for label, pkg := range packages {
		file := filepath.Join(dir, strings.ReplaceAll(label, "/", "-")+".txt")
		text := strings.Join(describe(label, pkg), "\n") + "\n"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// listed is what is used of the go command's answer about a package.
type listed struct {
	ImportPath, Name, Export string
	DepOnly                  bool
	Module                   *struct{ Path string }
}

// public reports whether programs outside the module can import the package. One that has only tests exports nothing.
func (l listed) public() bool {
	return !l.DepOnly && l.Name != "main" && l.Export != "" && !internal(l.ImportPath)
}

// label returns the path of the package inside its module, or the name of the module for its root.
func (l listed) label() string {
	if l.ImportPath == l.Module.Path {
		return path.Base(l.ImportPath)
	}
	return strings.TrimPrefix(l.ImportPath, l.Module.Path+"/")
}

func internal(importPath string) bool {
	return slices.Contains(strings.Split(importPath, "/"), "internal")
}

// load returns the public packages of the module in dir that match the pattern, by their labels. It reads the compiler's export data: that
// holds what a program can use of a package, and the go command has chosen the files of this platform.
func load(dir, pattern string) (map[string]*types.Package, error) {
	list, err := goList(dir, pattern)
	if err != nil {
		return nil, err
	}
	exports := map[string]string{}
	for _, l := range list {
		exports[l.ImportPath] = l.Export
	}
	imports := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	packages := map[string]*types.Package{}
	for _, l := range list {
		if !l.public() {
			continue
		}
		if packages[l.label()], err = imports.Import(l.ImportPath); err != nil {
			return nil, err
		}
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("no public package matches %s", pattern)
	}
	return packages, nil
}

// goList compiles the packages of the module in dir that match the pattern and all that they import.
func goList(dir, pattern string) ([]listed, error) {
	command := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Name,Export,DepOnly,Module", pattern)
	command.Dir = dir
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var list []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var l listed
		if err := dec.Decode(&l); err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		list = append(list, l)
	}
	return list, nil
}
