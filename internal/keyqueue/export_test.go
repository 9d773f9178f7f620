package keyqueue

// Len returns how many keys the queue keeps anything for.
func Len[K comparable](q *Queue[K]) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.lines)
}
