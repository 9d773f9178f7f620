# shellcheck shell=bash
# Sourced by what compiles the tests, so that all of it shares one build cache.
#
# The race detector watches nogap, the tests and the drivers. It does not watch SQLite itself, which two drivers have as Go
# translated from C: with it they take four times the processor time, and minutes to compile. The driver of ncruces must not
# register the name that another driver has.
unwatched=(-gcflags={modernc.org/sqlite/lib,modernc.org/libc/...,github.com/ncruces/go-sqlite3-wasm/...}"=-race=false")
export GOFLAGS="${GOFLAGS:-} -race -tags=ncruces -ldflags=-X=github.com/ncruces/go-sqlite3/driver.driverName=ncruces ${unwatched[*]}"
