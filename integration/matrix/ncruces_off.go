//go:build unix && !ncruces

package matrix

func ncruces() []Target { return nil }
