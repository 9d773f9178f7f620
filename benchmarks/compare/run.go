//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/nogap-go/nogap/benchmarks/internal/report"
)

// checkout is one of the two, built, with what its runs measured.
type checkout struct {
	name, program string
	values        samples
}

// compare runs both by turns.
func compare(ctx context.Context, s settings, out, progress io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "nogap-compare-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	both := []*checkout{{name: "before", values: samples{}}, {name: "after", values: samples{}}}
	for i, root := range []string{s.before, s.after} {
		both[i].program = filepath.Join(dir, both[i].name)
		if err := build(ctx, root, both[i].program); err != nil {
			return err
		}
	}
	for n := range s.count {
		for _, i := range rand.Perm(2) { // whoever comes first may find another machine
			fmt.Fprintf(progress, "run %d of %d: %s\n", n+1, s.count, both[i].name)
			if err := both[i].run(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", both[i].name, err)
			}
		}
	}
	return write(out, both[0].values, both[1].values)
}

func build(ctx context.Context, root, program string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-C", filepath.Join(root, "benchmarks"), "-o", program, ".")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s has no benchmarks that can be built: %w\n%s", root, err, bytes.TrimSpace(output))
	}
	return nil
}

// run runs it once and keeps what it measured.
func (c *checkout) run(ctx context.Context, s settings) error {
	cmd := exec.CommandContext(ctx, c.program, "-json", "-only", s.only, "-rounds", fmt.Sprint(s.rounds), "-round", s.round.String())
	var said bytes.Buffer
	cmd.Stderr = &said
	output, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(said.Bytes()))
	}
	var r report.Report
	if err := json.Unmarshal(output, &r); err != nil {
		return err
	}
	for _, result := range r.Results {
		c.values.add(result)
	}
	return nil
}
