package main

import (
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
)

// controlGroupMemory returns how much memory the control groups of this process allow it, in
// octets, and math.MaxInt64 if they set no limit. systemd's MemoryMax and MemoryHigh and the
// limits of containers are such limits. root is the root of the file system.
func controlGroupMemory(root fs.FS) int64 {
	least := int64(math.MaxInt64)
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return least // not Linux, or /proc is hidden
	}
	for line := range strings.Lines(string(groups)) {
		// A line is "0::/system.slice/sekimori.service" in version 2 of control groups, and
		// "4:memory:/system.slice/sekimori.service" in version 1.
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) < 3 {
			continue
		}
		dir, files := "sys/fs/cgroup", []string{"memory.max", "memory.high"}
		switch {
		case fields[1] == "memory":
			dir, files = "sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}
		case fields[0] != "0" || fields[1] != "":
			continue
		}
		// The limits of all parent groups count, too. In a container, the group named in the line
		// may not be visible, but the group of the container is.
		for group := path.Join("/", fields[2]); ; group = path.Dir(group) {
			for _, name := range files {
				least = min(least, memoryLimitIn(root, path.Join(dir, group, name)))
			}
			if group == "/" {
				break
			}
		}
	}
	return least
}

// memoryLimitIn reads a limit in octets. It returns math.MaxInt64 if there is no such file, or if
// the file says "max".
func memoryLimitIn(root fs.FS, name string) int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return math.MaxInt64
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n <= 0 {
		return math.MaxInt64
	}
	return n
}
