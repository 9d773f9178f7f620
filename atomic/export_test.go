package atomic

// For the external tests of what has no exported face.
var Sign = sign

// Rows returns for how many rows the Coalescer keeps anything.
func (c *Coalescer[N]) Rows() int {
	c.lines.mu.Lock()
	defer c.lines.mu.Unlock()
	return len(c.lines.rows)
}

// Waiting returns how many callers wait, for all rows.
func (c *Coalescer[N]) Waiting() (n int) {
	c.lines.mu.Lock()
	defer c.lines.mu.Unlock()
	for _, l := range c.lines.rows {
		n += l.waiting
	}
	return n
}
