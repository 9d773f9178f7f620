package pessimistic

// Key returns the form of a key by which rows are told apart, with as many columns as it has values.
func Key(values ...any) string {
	k, err := newKey(values, len(values))
	if err != nil {
		panic(err)
	}
	return k.text
}

// CompareKeys orders keys of one column.
func CompareKeys(a, b any) int {
	x, err := newKey(a, 1)
	if err != nil {
		panic(err)
	}
	y, err := newKey(b, 1)
	if err != nil {
		panic(err)
	}
	return x.compare(y)
}
