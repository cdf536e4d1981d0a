package seeded_test

// directoryBugs are the traps of what happens to a journal's directory and to its lock while it is
// open.
var directoryBugs = []bug{
	{
		name: "files are opened by their path",
		file: "segment/directory_unix.go",
		old:  "	fd, err := openRetry(d.fd(), name, flags|",
		new:  "	fd, err := openRetry(unix.AT_FDCWD, path, flags|",
		pkg:  "./journal", run: "^TestDetours$/^(chdir|link), synced$",
		cost: "the files of another journal are written to",
	},
	{
		name: "names are removed by their path",
		file: "segment/directory_unix.go",
		old:  "	if err := unix.Unlinkat(d.fd(), name, 0); err != nil {",
		new:  "	if err := unix.Unlinkat(unix.AT_FDCWD, filepath.Join(d.path, name), 0); err != nil {",
		pkg:  "./journal", run: "^TestDetours$/^(chdir|link), synced$",
		cost: "segments of another journal are removed",
	},
	{
		name: "files are opened through links",
		file: "segment/directory_unix.go",
		old:  "flags|unix.O_NOFOLLOW|",
		new:  "flags|",
		pkg:  "./segment", run: "^Test(OpenFollowsNothing|LockNotAFile)$",
		cost: "a name that leads elsewhere is written through",
	},
	{
		name: "the directory itself is not locked",
		file: "segment/lock_unix.go",
		old:  "		err := flock(d.f, unix.LOCK_EX)\n",
		new:  "		err := error(nil)\n",
		pkg:  "./journal", run: "^TestLockLost$",
		cost: "who removes LOCK lets a second writer in",
	},
	{
		name: "LOCK is not looked at any more",
		file: "segment/directory_unix.go",
		old:  "	return d.checkLock()\n",
		new:  "	return nil\n",
		pkg:  "./journal", run: "^TestLock(Lost|Taken)$",
		cost: "a writer on another machine goes unnoticed",
	},
	{
		name: "who probes LOCK is taken for a writer",
		file: "segment/lock_unix.go",
		old:  "	err := flockSoon(f)\n",
		new:  "	err := flock(f, unix.LOCK_EX)\n",
		pkg:  "./segment", run: "^TestLockProbed$",
		cost: "a second Open that is refused makes the first journal fail",
	},
	{
		name: "LOCK is shared with a copy",
		file: "segment/lock_unix.go",
		old:  "	if err != nil || n <= 1 {\n",
		new:  "	if err != nil || n <= 100 {\n",
		pkg:  "./segment", run: "^TestLockShared$",
		cost: "a snapshot by hard links cannot be opened",
	},
	{
		name: "a path that leads elsewhere is enough to be replaced",
		file: "segment/directory_unix.go",
		old:  `inodeAt(parent, "."); err != nil || id != d.parent {`,
		new:  `inodeAt(parent, "."); err != nil || id == (inode{}) {`,
		pkg:  "./segment", run: "^TestReplaced$",
		cost: "a journal fails because a directory above it was renamed",
	},
	{
		name: "the directory is not looked at after a sync",
		file: "journal/sync.go",
		old: `	if err := j.checkDirectory(); err != nil {
		return err
	}
	return j.finishSync(`,
		new: "	return j.finishSync(",
		pkg: "./journal", run: "^TestGone$/^directory, renamed and recreated, Sync, published$",
		cost: "records are acknowledged that nobody will find",
	},
	{
		name: "the file is not looked at after a sync",
		file: "journal/sync.go",
		old: `		if err := j.checkSegment(seg); err != nil {
			return err
		}
`,
		new: "",
		pkg: "./journal", run: "^TestGone$/^active segment, Sync, synced$",
		cost: "records are acknowledged that are in no file",
	},
	{
		name: "the files are not looked at before a truncation",
		file: "journal/truncate.go",
		old:  "		err = j.checkFiles()\n",
		new:  "		err = nil\n",
		pkg:  "./journal", run: "^TestGone$/^active segment, Reset, synced$",
		cost: "records are gone, and nothing says so",
	},
	{
		name: "a segment that cannot be prepared in a removed directory may be tried again",
		file: "journal/append.go",
		old: `	if err := j.checkDirectory(); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", op, err)`,
		new: `	return fmt.Errorf("%s: %w", op, err)`,
		pkg: "./journal", run: "^TestGone$/^directory, roll, published$",
		cost: "appends go on in a directory that does not exist any more",
	},
	{
		name: "mapping is not tried at open",
		file: "journal/journal.go",
		old:  "		err = probeMapping(fsys, dir)\n",
		new:  "		err = nil\n",
		pkg:  "./journal", run: "^TestNoMapping$",
		cost: "the first append finds out that nothing can be appended",
	},
	{
		name: "whatever is named JOURNAL decides about owner and mode",
		file: "segment/directory_unix.go",
		old:  "	if err != nil || !isRegular(&st) || st.Nlink > 1 && st.Uid != dir.Uid && ",
		new:  "	if err != nil || !isRegular(&st) || st.Nlink > 1<<20 && ",
		pkg:  "./segment", run: "^TestAttributes$",
		cost: "files get the owner of a file that somebody else has linked there",
	},
	{
		name: "a file JOURNAL with a second name does not say who owns the journal",
		file: "segment/directory_unix.go",
		old:  "	return err == nil\n}\n\nfunc isRegular(",
		new:  "	return false\n}\n\nfunc isRegular(",
		pkg:  "./segment", run: "^TestAttributes$",
		also: []tests{{"./journal", "^TestOwnerKept$"}},
		cost: "root's use of a service's journal that has a snapshot locks the service out",
	},
	{
		name: "new files belong to the process that makes them",
		file: "segment/directory_unix.go",
		old:  "	if own.uid >= 0 && (",
		new:  "	if own.uid < -1 && (",
		pkg:  "./journal", run: "^TestOwnerKept$/^as_it_was",
		also: []tests{{"./cmd/journaltool", "^TestServiceKeepsItsJournal$"}},
		cost: "root's use of a service's journal locks the service out",
	},
	{
		name: "owner and mode are those that JOURNAL had at open",
		file: "segment/directory_unix.go",
		old:  `int(f.Fd()), d.attributes(), ""`,
		new:  `int(f.Fd()), d.own, ""`,
		pkg:  "./journal", run: "^TestModeKept$",
		cost: "a reader that was let in while the journal was open cannot read what is new",
	},
	{
		name: "new files have the mode of any file",
		file: "segment/directory_unix.go",
		old:  "unix.Fchmod(fd, own.mode)",
		new:  "unix.Fchmod(fd, 0o600)",
		pkg:  "./journal", run: "^TestModeKept$",
		cost: "a reader of the journal's group cannot read it after a roll",
	},
	{
		name: "LOCK that cannot be checked counts as replaced",
		file: "segment/lock_unix.go",
		old:  "err != nil || id == d.lock.id {",
		new:  "id == d.lock.id && err == nil {",
		pkg:  "./segment", run: "^TestLockUnreadable$",
		cost: "a journal on a network file system fails because permission is missing for a while",
	},
}
