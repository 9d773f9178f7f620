// Package hidden has a type that kinds exports under another name.
package hidden

type Type struct{ Field int }

func (Type) Method(times int) Type { return Type{} }
