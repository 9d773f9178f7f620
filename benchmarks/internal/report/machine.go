//go:build unix

package report

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine is what a run was made on.
type Machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	MemoryGB   int    `json:"memory_gb"`
	System     string `json:"system"`
	Go         string `json:"go"`
}

// ThisMachine returns the one that the program runs on. What the system does not tell stays empty.
func ThisMachine() Machine {
	m := Machine{Processor: field("/proc/cpuinfo", "model name"), Processors: runtime.NumCPU(),
		System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	var kB int
	if _, err := fmt.Sscan(field("/proc/meminfo", "MemTotal"), &kB); err == nil {
		m.MemoryGB = (kB + 1<<19) >> 20
	}
	return m
}

// String says it in a sentence.
func (m Machine) String() string {
	processor := m.Processor
	if processor == "" {
		processor = "unknown"
	}
	return fmt.Sprintf("%d processors (%s), %d GB of memory, %s, %s.", m.Processors, processor, m.MemoryGB, m.System, m.Go)
}

// field returns the value of the first line "name: value" of a file.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
