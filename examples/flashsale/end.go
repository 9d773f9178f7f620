package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
)

// exitSignal is added to the number of a signal, as shells do.
const exitSignal = 128

// An interruption is the cause of a context that a signal has ended.
type interruption struct{ signal os.Signal }

func (i interruption) Error() string { return "interrupted" }

// status is what a shell reports of a program that the signal has ended.
func (i interruption) status() int {
	if s, ok := i.signal.(syscall.Signal); ok {
		return exitSignal + int(s)
	}
	return 1
}

// untilSignal returns a context that the first of the signals ends that ask a program to stop. A second one does not wait
// for the end of the requests: the program removes its files and exits.
func untilSignal(stderr io.Writer) context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	ask := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // by nohup
		ask = append(ask, syscall.SIGHUP)
	}
	signal.Notify(signals, ask...)
	// A reader of the table that goes away is an error of the write, not the end without a clean-up.
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		first := interruption{<-signals}
		cancel(first)
		<-signals
		temporary.removeAll()
		fmt.Fprintln(stderr, "flashsale: interrupted twice: tables whose names begin with nogap_flashsale_ may be left in the "+
			"database of -db")
		os.Exit(first.status())
	}()
	return ctx
}

// An output ends the run with the first error of a write, since what follows would not be read.
type output struct {
	w    io.Writer
	stop context.CancelCauseFunc
}

// An outputError is the cause of a context that an output has ended.
type outputError struct{ error }

func (e outputError) Unwrap() error { return e.error }

func (o output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.stop(outputError{err})
	}
	return n, err
}

// A leftBehindError says what a run could not clean up.
type leftBehindError struct{ error }

func (e leftBehindError) Unwrap() error { return e.error }

func leftBehind(err error) error {
	if err == nil {
		return nil
	}
	return leftBehindError{err}
}

// failed prints why a run has failed and returns the exit status. cause is that of the run's context, if it has ended.
func failed(err, cause error, stderr io.Writer) int {
	var (
		interrupted interruption
		out         outputError
		left        leftBehindError
	)
	status := 1
	switch {
	case errors.As(cause, &interrupted):
		status = interrupted.status()
		fmt.Fprintln(stderr, "flashsale: interrupted")
	case errors.As(cause, &out) && errors.Is(out, syscall.EPIPE): // as by head, which has seen enough
		status = exitSignal + int(syscall.SIGPIPE)
	case errors.As(cause, &out):
		fmt.Fprintln(stderr, "flashsale: the results can't be printed:", out)
	case cause != nil:
		fmt.Fprintln(stderr, "flashsale: interrupted:", cause)
	default:
		fmt.Fprintln(stderr, "flashsale:", err)
		return status // left is part of err
	}
	if errors.As(err, &left) {
		fmt.Fprintln(stderr, "flashsale:", left)
	}
	return status
}

// temporary are the files and directories that are there only while the program runs.
var temporary temporaryPaths

type temporaryPaths struct {
	mu    sync.Mutex
	paths []string
}

func (t *temporaryPaths) add(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paths = append(t.paths, path)
}

// remove removes one of them, if it is still there.
func (t *temporaryPaths) remove(path string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.paths = slices.DeleteFunc(t.paths, func(p string) bool { return p == path })
	return os.RemoveAll(path)
}

// removeAll removes all of them. SQLite may add a file to a directory meanwhile, which then is not empty: it is tried again.
// The lock is kept, so that nothing is added any more.
func (t *temporaryPaths) removeAll() {
	t.mu.Lock()
	for _, path := range t.paths {
		for range 10 {
			if os.RemoveAll(path) == nil {
				break
			}
		}
	}
}
