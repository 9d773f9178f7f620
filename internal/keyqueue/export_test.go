package keyqueue

// Len returns how many keys the queue keeps anything for.
func Len[K comparable](q *Queue[K]) int {
	held, _ := q.Size()
	return held
}
