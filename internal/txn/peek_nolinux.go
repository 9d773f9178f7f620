//go:build unix && !linux

package txn

func closedBehind(int) bool { return false }
