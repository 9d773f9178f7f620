package main

import (
	"go/ast"
	"go/parser"
	"go/types"
	"slices"
	"strings"
)

// describe returns the exported API of a package, one sorted line for each constant, variable, function, type, field and
// method. Names of parameters are left out, since changing them breaks nobody.
func describe(label string, pkg *types.Package) []string {
	a := &api{pkg: pkg, prefix: "pkg " + label + ", "}
	for _, name := range pkg.Scope().Names() {
		if object := pkg.Scope().Lookup(name); object.Exported() {
			a.object(object)
		}
	}
	slices.Sort(a.lines)
	return a.lines
}

// api collects the lines of one package.
type api struct {
	pkg    *types.Package
	prefix string
	lines  []string
}

func (a *api) add(parts ...string) {
	a.lines = append(a.lines, a.prefix+strings.Join(parts, ""))
}

func (a *api) object(object types.Object) {
	name := object.Name()
	switch object := object.(type) {
	case *types.Const:
		typ := ""
		if basic, ok := object.Type().(*types.Basic); !ok || basic.Info()&types.IsUntyped == 0 {
			typ = " " + a.text(object.Type())
		}
		a.add("const ", name, typ, " = ", object.Val().ExactString())
	case *types.Var:
		a.add("var ", name, " ", a.text(object.Type()))
	case *types.Func:
		a.add("func ", name, a.signature(object.Signature()))
	case *types.TypeName:
		if alias, ok := object.Type().(*types.Alias); ok {
			a.alias(name, alias)
		} else {
			a.named(name, object.Type().(*types.Named))
		}
	}
}

func (a *api) alias(name string, alias *types.Alias) {
	a.add("type ", name, a.typeParams(alias.TypeParams()), " = ", a.text(alias.Rhs()))
	// Of a type that programs can't import by its own name, this name is the documentation.
	if target, ok := types.Unalias(alias).(*types.Named); ok && target.Obj().Pkg() != nil && internal(target.Obj().Pkg().Path()) {
		a.named(name, target)
	}
}

// named describes a type, its fields and its methods.
func (a *api) named(name string, named *types.Named) {
	head := "type " + name + a.typeParams(named.TypeParams())
	switch underlying := named.Underlying().(type) {
	case *types.Interface:
		a.iface(head, underlying)
		return // its methods are part of it
	case *types.Struct:
		a.add(head, " struct")
		a.fields(head, named, underlying)
	default:
		a.add(head, " ", a.text(underlying))
	}
	a.methods(name, named)
}

func (a *api) iface(head string, iface *types.Interface) {
	if !iface.IsMethodSet() {
		a.add(head, " ", a.text(iface))
		return
	}
	names, sealed := []string{}, false
	for method := range iface.Methods() {
		if !method.Exported() {
			sealed = true
			continue
		}
		names = append(names, method.Name())
		a.add(head, " interface, ", method.Name(), a.signature(method.Signature()))
	}
	slices.Sort(names)
	switch {
	case sealed:
		a.add(head, " interface, unexported methods")
	case len(names) == 0:
		a.add(head, " interface {}")
	default:
		a.add(head, " interface { ", strings.Join(names, ", "), " }")
	}
}

// fields describes the exported fields of a type. Those of an unexported struct that it embeds are its own; those of an
// exported one are told by its name.
func (a *api) fields(head string, owner *types.Named, fields *types.Struct) {
	for field := range fields.Fields() {
		switch {
		case field.Exported() && field.Embedded():
			a.add(head, " struct, embedded ", a.text(field.Type()))
		case field.Exported():
			// An outer field may hide one that is embedded.
			if found, _, _ := types.LookupFieldOrMethod(owner, true, a.pkg, field.Name()); found == field {
				a.add(head, " struct, ", field.Name(), " ", a.text(field.Type()))
			}
		case field.Embedded():
			typ := field.Type()
			if pointer, ok := typ.Underlying().(*types.Pointer); ok {
				typ = pointer.Elem()
			}
			if inner, ok := typ.Underlying().(*types.Struct); ok {
				a.fields(head, owner, inner)
			}
		}
	}
}

// methods describes the exported methods of a type, with those that it gets by embedding.
func (a *api) methods(name string, named *types.Named) {
	var args []types.Type
	names := []string{}
	for param := range named.TypeParams().TypeParams() {
		args = append(args, param)
		names = append(names, param.Obj().Name())
	}
	var typ types.Type = named
	if len(args) > 0 {
		// A method may name the type parameters otherwise than the type does.
		typ, _ = types.Instantiate(nil, named, args, false)
		name += "[" + strings.Join(names, ", ") + "]"
	}
	values := types.NewMethodSet(typ)
	for method := range types.NewMethodSet(types.NewPointer(typ)).Methods() {
		if !method.Obj().Exported() {
			continue
		}
		receiver := "*" + name
		if values.Lookup(a.pkg, method.Obj().Name()) != nil {
			receiver = name
		}
		a.add("method (", receiver, ") ", method.Obj().Name(), a.signature(method.Type().(*types.Signature)))
	}
}

func (a *api) signature(s *types.Signature) string {
	plain := types.NewSignatureType(nil, nil, nil, s.Params(), s.Results(), s.Variadic())
	return a.typeParams(s.TypeParams()) + strings.TrimPrefix(a.text(plain), "func")
}

func (a *api) typeParams(list *types.TypeParamList) string {
	var params []string
	for param := range list.TypeParams() {
		params = append(params, param.Obj().Name()+" "+a.text(param.Constraint()))
	}
	if params == nil {
		return ""
	}
	return "[" + strings.Join(params, ", ") + "]"
}

// text returns a type in Go's syntax, without the names of parameters.
func (a *api) text(typ types.Type) string {
	source := types.TypeString(typ, func(p *types.Package) string {
		if p == a.pkg {
			return ""
		}
		return p.Name()
	})
	expr, err := parser.ParseExpr(source)
	if err != nil {
		panic("type " + source + ": " + err.Error())
	}
	ast.Inspect(expr, func(node ast.Node) bool {
		if function, ok := node.(*ast.FuncType); ok {
			unname(function.Params)
			unname(function.Results)
		}
		return true
	})
	return types.ExprString(expr)
}

// unname removes the names of parameters. Each has a type of its own, as types.TypeString writes them.
func unname(params *ast.FieldList) {
	if params == nil {
		return
	}
	for _, param := range params.List {
		param.Names = nil
	}
}
