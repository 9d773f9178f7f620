package perdb

// Len returns how many databases the map keeps something for.
func Len[V any](m *Map[V]) int {
	n := 0
	m.m.Range(func(any, any) bool { n++; return true })
	return n
}
