package atomic

// For the external tests of what has no exported face.
var Sign = sign

// Rows returns for how many rows the Coalescer keeps anything.
func (c *Coalescer[N]) Rows() int {
	rows, _ := c.group.Size()
	return rows
}

// Waiting returns how many callers wait, for all rows.
func (c *Coalescer[N]) Waiting() int {
	_, waiting := c.group.Size()
	return waiting
}
