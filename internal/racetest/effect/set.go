package effect

import (
	"maps"
	"slices"
)

// Set is a set of tables, by their names in lower case and without a schema. The zero Set is empty.
type Set struct {
	all   bool
	names map[string]struct{}
}

// All is the set of all tables.
func All() Set { return Set{all: true} }

// Of returns the set of some tables.
func Of(names ...string) Set {
	var s Set
	s.add(names...)
	return s
}

func (s *Set) add(names ...string) {
	for _, name := range names {
		if s.names == nil {
			s.names = map[string]struct{}{}
		}
		s.names[name] = struct{}{}
	}
}

// Union returns what is in either set.
func (s Set) Union(o Set) Set {
	if s.all || o.all {
		return All()
	}
	var u Set
	u.add(slices.Collect(maps.Keys(s.names))...)
	u.add(slices.Collect(maps.Keys(o.names))...)
	return u
}

// Empty reports whether nothing is in the set.
func (s Set) Empty() bool { return !s.all && len(s.names) == 0 }

// IsAll reports whether it is the set of all tables.
func (s Set) IsAll() bool { return s.all }

// Names returns the tables, sorted. A set of all tables has none.
func (s Set) Names() []string { return slices.Sorted(maps.Keys(s.names)) }

// Meets reports whether a table is in both sets.
func (s Set) Meets(o Set) bool {
	if s.Empty() || o.Empty() {
		return false
	}
	if s.all || o.all {
		return true
	}
	for name := range s.names {
		if _, ok := o.names[name]; ok {
			return true
		}
	}
	return false
}

// And returns the tables that are in both sets.
func (s Set) And(o Set) Set {
	switch {
	case s.all:
		return o
	case o.all:
		return s
	}
	var both Set
	for name := range s.names {
		if _, ok := o.names[name]; ok {
			both.add(name)
		}
	}
	return both
}
