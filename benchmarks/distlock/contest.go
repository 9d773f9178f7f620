package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/nogap-go/nogap/benchmarks/internal/locks"
)

// The contest is one name that the goroutines of several processes want, each over and over.
const processes = 4

// task is what a process is told to do.
type task struct {
	Rival      string
	Addrs      []string
	Goroutines int
	Section    time.Duration // how long the lock is held
	For        time.Duration
}

// report is what it did.
type report struct {
	Locks   []int // by goroutine
	Longest time.Duration
	Err     string
}

// compete has processes compete. It is the parent's part.
func compete(r locks.Library, addrs []string, goroutines int, section, d time.Duration) (result, error) {
	type child struct {
		cmd *exec.Cmd
		in  *json.Encoder
		out *bufio.Scanner
	}
	var children []child
	defer func() {
		for _, c := range children {
			c.cmd.Process.Kill()
			c.cmd.Wait()
		}
	}()
	for range processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"=1")
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return result{}, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return result{}, err
		}
		if err := cmd.Start(); err != nil {
			return result{}, err
		}
		c := child{cmd, json.NewEncoder(in), bufio.NewScanner(out)}
		c.out.Buffer(nil, 1<<20)
		children = append(children, c)
		c.in.Encode(task{r.Name, addrs, goroutines, section, d})
	}
	for _, c := range children { // all are connected
		if !c.out.Scan() || c.out.Text() != "ready" {
			return result{}, fmt.Errorf("%s: a process is not ready: %s", r.Name, c.out.Text())
		}
	}
	for _, c := range children {
		c.in.Encode("go")
	}
	var all []int
	var longest time.Duration
	for _, c := range children {
		var rep report
		if !c.out.Scan() {
			return result{}, fmt.Errorf("%s: a process has died", r.Name)
		}
		if err := json.Unmarshal(c.out.Bytes(), &rep); err != nil {
			return result{}, err
		}
		if rep.Err != "" {
			return result{}, fmt.Errorf("%s: %s", r.Name, rep.Err)
		}
		all = append(all, rep.Locks...)
		longest = max(longest, rep.Longest)
	}
	total := 0
	for _, n := range all {
		total += n
	}
	return result{PerSecond: float64(total) / d.Seconds(), Fairness: jain(all), LongestMS: float64(longest) / 1e6}, nil
}

// jain returns Jain's fairness index: 1 if all have the same, 1/n if one has everything.
func jain(counts []int) float64 {
	var sum, squares float64
	for _, n := range counts {
		sum += float64(n)
		squares += float64(n) * float64(n)
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(counts)) * squares)
}

// child is the main function of a process that competes.
func child() error {
	in := json.NewDecoder(os.Stdin)
	var t task
	if err := in.Decode(&t); err != nil {
		return err
	}
	r, err := locks.Named(t.Rival)
	if err != nil {
		return err
	}
	lock, closeAll, err := r.Open(t.Addrs)
	if err != nil {
		return err
	}
	defer closeAll()
	ctx := context.Background()
	unlock, err := lock(ctx, fmt.Sprint("warm", os.Getpid()))
	if err != nil {
		return err
	}
	if err := unlock(); err != nil {
		return err
	}
	fmt.Println("ready")
	var start string
	if err := in.Decode(&start); err != nil {
		return err
	}

	rep := report{Locks: make([]int, t.Goroutines)}
	ctx, cancel := context.WithTimeout(ctx, t.For)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for g := range t.Goroutines {
		wg.Go(func() {
			var longest time.Duration
			for ctx.Err() == nil {
				asked := time.Now()
				unlock, err := lock(ctx, "contended")
				waited := time.Since(asked)
				longest = max(longest, waited) // who is still waiting at the end counts too
				if err != nil {
					break
				}
				if t.Section > 0 {
					time.Sleep(t.Section)
				}
				rep.Locks[g]++
				if err := unlock(); err != nil && ctx.Err() == nil {
					mu.Lock()
					rep.Err = err.Error()
					mu.Unlock()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			rep.Longest = max(rep.Longest, longest)
		})
	}
	wg.Wait()
	return json.NewEncoder(os.Stdout).Encode(rep)
}

// alternate has one goroutine lock and unlock with each rival, block by block in random order, so that what else happens on the
// machine hits all alike. It returns the rates.
func alternate(list []locks.Library, addrs []string, d time.Duration) ([]float64, error) {
	const block = 50
	ctx := context.Background()
	taken := make([]locks.Lock, len(list))
	for i, r := range list {
		l, closeAll, err := r.Open(addrs)
		if err != nil {
			return nil, err
		}
		defer closeAll()
		taken[i] = l
	}
	spent := make([][]time.Duration, len(list))
	for end := time.Now().Add(d); time.Now().Before(end) || len(spent[0]) < 10; {
		for _, i := range rand.Perm(len(taken)) { // whoever comes next pays for what one leaves to the background
			start := time.Now()
			for range block {
				unlock, err := taken[i](ctx, "alone")
				if err != nil {
					return nil, fmt.Errorf("%s: %w", list[i].Name, err)
				}
				if err := unlock(); err != nil {
					return nil, fmt.Errorf("%s: %w", list[i].Name, err)
				}
			}
			spent[i] = append(spent[i], time.Since(start))
		}
	}
	rates := make([]float64, len(list))
	for i, s := range spent { // the median block: a pause of the machine is nobody's fault
		sort.Slice(s, func(a, b int) bool { return s[a] < s[b] })
		rates[i] = block / s[len(s)/2].Seconds()
	}
	return rates, nil
}

func split(addrs string) []string {
	if addrs == "" {
		return nil
	}
	return strings.Split(addrs, ",")
}
