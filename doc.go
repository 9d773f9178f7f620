// Package nogap closes the gap between a read and the write that is decided from it.
package nogap
