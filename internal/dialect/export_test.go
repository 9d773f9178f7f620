package dialect

// Remembered returns the number of pools whose server is remembered.
func Remembered() (n int) {
	answers.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}
