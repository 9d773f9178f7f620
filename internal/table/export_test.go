package table

const MaxCached = maxCached

// Len returns how many Tables are kept.
func (c *Cache[K, S]) Len() int { return len(c.entries) }

// Built returns the S if it has been built, else nil.
func (q *SQL[S]) Built() *S { return q.built.Load() }
