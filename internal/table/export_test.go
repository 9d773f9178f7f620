package table

const MaxCached = maxCached

// Len returns how many Tables are kept.
func (c *Cache[K, S]) Len() int { return len(c.entries) }
