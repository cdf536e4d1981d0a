package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// counters are what a block device has done since the machine started. A flush counts as a write
// too.
type counters struct{ writes, bytes, flushes uint64 }

// deviceCounters reads /sys/dev/block/*/stat of the device that holds dir. Other programs' writes
// are in it too.
func deviceCounters(dir string) (c counters, err error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return c, err
	}
	raw, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat",
		unix.Major(st.Dev), unix.Minor(st.Dev)))
	if err != nil {
		return c, err
	}
	f := strings.Fields(string(raw))
	if len(f) < 16 {
		return c, fmt.Errorf("the device counts no flushes")
	}
	c.writes, _ = strconv.ParseUint(f[4], 10, 64)
	sectors, _ := strconv.ParseUint(f[6], 10, 64)
	c.flushes, _ = strconv.ParseUint(f[15], 10, 64)
	c.bytes = sectors * 512
	return c, nil
}

// freeSpace returns how many bytes can be written in dir's file system.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// writeBack writes everything that dir's file system has in memory, so that what one contender has
// left does not keep the disk busy while the next one runs.
func writeBack(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", dir, err)
	}
	return nil
}

// inMemory reports whether dir is in a file system that has no disk.
func inMemory(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil &&
		(st.Type == unix.TMPFS_MAGIC || uint32(st.Type) == unix.RAMFS_MAGIC)
}

// machine describes where the figures come from.
func machine(dir string) string {
	var u unix.Utsname
	_ = unix.Uname(&u) // fails never
	return fmt.Sprintf("%s, %d of them usable; %s of memory; %s %s %s; %s; %s; "+
		"load before the run %s",
		procLine("/proc/cpuinfo", "model name"), runtime.GOMAXPROCS(0), formatBytes(memory()),
		unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]),
		unix.ByteSliceToString(u.Machine[:]), fileSystem(dir), runtime.Version(), loadAverage())
}

// procLine returns the value of the first line "name : value" of a file.
func procLine(path, name string) string {
	raw, _ := os.ReadFile(path)
	for line := range strings.Lines(string(raw)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

// memory returns how many bytes the machine has, NaN if it does not say.
func memory() float64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return math.NaN()
	}
	return float64(info.Totalram) * float64(info.Unit)
}

func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(raw), " ")
	return first
}

// fileSystem returns the type of the file system that holds dir.
func fileSystem(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return err.Error()
	}
	id := fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))
	raw, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(raw)) {
		mount, rest, _ := strings.Cut(line, " - ")
		f, r := strings.Fields(mount), strings.Fields(rest)
		if len(f) > 2 && f[2] == id && len(r) > 1 {
			return r[0] + " on " + filepath.Base(r[1])
		}
	}
	return "unknown file system"
}

// processorTime returns how long processors have worked for this process, in the kernel too.
func processorTime() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u) // fails never
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
