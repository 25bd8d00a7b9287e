package load

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// usage is what processes have used so far.
type usage struct {
	cpu  time.Duration
	peak int64 // octets; the sum of the VmHWM of the processes
	rss  int64
	// calls and switches are the system calls and context switches. They are counted only if
	// Options.SystemCalls is set.
	calls, switches int64
}

// sampleProcesses returns the sum of what pids and all their descendants have used.
func sampleProcesses(pids []int) (usage, error) {
	var sum usage
	if len(pids) == 0 {
		return sum, nil
	}
	for i, pid := range descendants(pids) {
		u, err := sampleProcess(pid)
		if err != nil {
			if i >= len(pids) {
				continue // this descendant has ended since the list was made
			}
			return sum, err
		}
		sum.cpu += u.cpu
		sum.peak += u.peak
		sum.rss += u.rss
	}
	return sum, nil
}

// descendants returns pids followed by all their descendants, each process once.
func descendants(pids []int) []int {
	entries, _ := filepath.Glob("/proc/[0-9]*/stat") // an error would mean a bad pattern
	children := map[int][]int{}
	for _, path := range entries {
		fields, err := statFields(path)
		if err != nil {
			continue // the process has ended since the files were listed
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
	}
	seen := map[int]bool{}
	var out []int
	for _, pid := range pids {
		if !seen[pid] {
			seen[pid] = true
			out = append(out, pid)
		}
	}
	for i := 0; i < len(out); i++ {
		for _, child := range children[out[i]] {
			if !seen[child] {
				seen[child] = true
				out = append(out, child)
			}
		}
	}
	return out
}

// statFields returns the fields of a /proc/PID/stat file, beginning with the third one (the state).
func statFields(path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load: process: %w", err)
	}
	// The second field is the program's name in parentheses. The name may itself contain blanks and
	// parentheses.
	fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(fields) < 13 {
		return nil, fmt.Errorf("load: process: %s is too short", path)
	}
	return fields, nil
}

// cpuTime returns the CPU time of a process in user and system mode, to the nanosecond. (The times
// in /proc/PID/stat are in ticks of 10 ms, which is too coarse for a short run at a low rate.)
func cpuTime(pid int) (time.Duration, error) {
	const schedulerClock = 2                 // CPUCLOCK_SCHED
	clock := int32(^pid)<<3 | schedulerClock // what clock_getcpuclockid(3) returns
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("load: CPU time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

func sampleProcess(pid int) (usage, error) {
	cpu, err := cpuTime(pid)
	if err != nil {
		return usage{}, err
	}
	u := usage{cpu: cpu}
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return usage{}, fmt.Errorf("load: process: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		for name, to := range map[string]*int64{"VmHWM:": &u.peak, "VmRSS:": &u.rss} {
			if value, ok := strings.CutPrefix(line, name); ok {
				kB, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
				*to = kB << 10
			}
		}
	}
	return u, nil
}
