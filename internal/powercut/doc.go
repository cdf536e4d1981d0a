// Package powercut cuts the power of a disk on which a journal is being written, with a real
// kernel file system in between: ext4, XFS or btrfs. It is a module of its own, so that the library
// does not depend on FUSE.
//
// # What is simulated
//
// A disk with a volatile cache. It is a FUSE file system with one file, disk.img, in a process of
// its own; a loop device makes a block device of the file, and the file system under test is
// mounted from that. The disk keeps a log: every write, every flush, and the marks of the workload,
// in one order. A mark says that an operation on the journal begins or what it has returned; it is
// in the log before the workload goes on.
//
//	workload ── journal ── ext4 ── loop device ── FUSE ── disk ── log
//	    └────────────── marks, through a socket ───────────┘
//
// One recording gives any number of crashes. The image of a crash before entry p of the log is
// everything up to the last flush before p, and of each 512-byte sector written since then one of
// its versions, or the old one. Superblocks that the file system writes in place and expects to be
// whole are left whole: ext4's first block, btrfs's at 64 KiB and 64 MiB. The image is mounted, the
// journal in it opened, read, held against the model of what was begun and acknowledged before p
// (check.go), appended to, closed and opened again.
//
// Some workloads make a snapshot by hard links of the open or the closed journal. After any later
// cut its files must have the bytes that they had.
//
// Left to itself the kernel writes little before a sync, so the workload makes it write random
// pages with sync_file_range, and points with many unsynced writes are drawn more often.
//
// # The tests
//
//	TestPowerCut     one life, or one that is killed and a second, and a cut at any point
//	TestCutsInARow   five lives, each on the disk that the last cut has left; most cuts fall
//	                 between mount and the return of Open, behind the k-th disk write
//	TestFullDiskCuts a disk with a few free blocks: append until ErrNoSpace, truncate and reset
//	                 while it is full, append again, and a cut at any point; the image is
//	                 truncated, too, before it gets space. On ext4 and XFS; the test says why
//	TestDiskErrors   the k-th write or flush fails with EIO, once or from then on; the journal must
//	                 fail for good; the writer is killed, the disk healed, the journal opened
//	                 from the same mounted file system, whose cache shows more than is on the
//	                 disk; then the power is cut at once
//	TestRigCanFail   three seeded bugs, which must be seen
//
// They need root, /dev/fuse, loop devices and mkfs, and skip with the reason where one is missing.
// They run in a mount namespace of their own, so that no mount outlives them. A file system that
// does not mount after a cut is counted as lost; more than 1 % of these fail the test.
//
// # Repeating a violation
//
// A violation names its seed: MMJOURNAL_SEED=7 go test -run TestPowerCut/ext4. The seed repeats
// what the workload does and what is drawn; threads, the kernel's included, interleave as they
// like, so it may take a few runs. To look into the very image set MMJOURNAL_POWERCUT_KEEP to a
// directory: it gets the image of each violation, which mount -o loop takes, and the log up to the
// cut, as text.
// MMJOURNAL_RUNS and MMJOURNAL_TIME ask for more runs, see internal/testutil/torture.
//
// # What it does not see
//
// A write that the disk has taken just before a flush begins counts as flushed, even if the kernel
// had not been told that it was done. Directory entries that no one has synced: these file systems
// make them durable all the same. Sectors that become unreadable.
package powercut
