package seeded_test

// bug is a change of the source that breaks a promise. The tests of pkg that run selects must fail
// with it, and so must each of also.
type bug struct {
	name string
	file string
	old  string // occurs exactly once in file
	new  string
	more []edit // in the same file
	pkg  string
	run  string
	also []tests
	cost string // what it would cost a user

	hangs bool // the tests notice by waiting until their limit on time
}

// tests are those of a package whose names match run.
type tests struct{ pkg, run string }

type edit struct{ old, new string }

const (
	crashes = "^TestModel$"       // every crash of the model
	errs    = "^TestModelErrors$" // an error at every operation
	damages = "^TestModel(Damage|DamagedJournalFile|MissingSegment)$"
)

// protocolBugs are the traps of the protocol.
var protocolBugs = []bug{
	{
		name: "acknowledged before the sync",
		file: "journal/append.go",
		old: `	if j.opts.Durability == Synced {
`,
		new: `	if j.opts.Durability == Synced && last%2 == 0 {
`,
		pkg: "./journal", run: crashes,
		also: []tests{{"./journal", "^TestRandomHistories$"}, {"./journal", "^TestKill$"}},
		cost: "every second acknowledged record is lost by a power cut",
	},
	{
		name: "a sync that syncs nothing",
		file: "segment/segment.go",
		old:  "		return f.Datasync()\n",
		new:  "		return nil\n",
		pkg:  "./journal", run: crashes,
		cost: "as msync with MS_ASYNC: acknowledged records are lost by a power cut",
	},
	{
		name: "a sync of frames ends before the last one",
		file: "segment/segment.go",
		old:  "		return s.datasync(f, from, end)\n",
		new:  "		return s.datasync(f, from, end-512)\n",
		pkg:  "./journal", run: crashes,
		cost: "what Sync, at level Published, has acknowledged is lost by a power cut",
	},
	{
		name: "a sync of frames forgets those that came during the last one",
		file: "segment/segment.go",
		old:  "	s.mu.synced = max(synced, end)\n",
		new:  "	s.mu.synced = max(synced, s.End())\n",
		pkg:  "./journal", run: crashes,
		cost: "as above",
	},
	{
		name: "a full segment is synced without its index",
		file: "segment/segment.go",
		old:  "	if s.full.Load() { // behind the frames is the index\n",
		new:  "	if false {\n",
		pkg:  "./segment", run: "^TestSyncFramesFull$",
		cost: "a power cut damages the index of a segment, and the next open reports it",
	},
	{
		name: "what was taken back stays on the disk",
		file: "segment/segment.go",
		old:  "max(to, Offset(s.wiped.Load()))",
		new:  "to",
		pkg:  "./segment", run: "^TestSyncFramesWiped$",
		cost: "after a power cut a clean journal is reported as torn",
	},
	{
		name: "recovery syncs less than it shows",
		file: "recovery/state.go",
		old:  "		err = w.SyncRange(from, to)\n",
		new:  "		err = w.SyncRange(from, to-512)\n",
		pkg:  "./journal", run: crashes,
		cost: "records that were read after a crash are gone after the next one",
	},
	{
		name: "dirtying stops one page early",
		file: "segment/segment.go",
		old: `	s.m.dirty(from, min(to, Offset(len(s.m.b))))
`,
		new: `	s.m.dirty(from, min(to, Offset(len(s.m.b)))-4096)
`,
		pkg: "./journal", run: errs,
		cost: "what recovery shows after a failed write is not on the disk",
	},
	{
		name: "recovery shows what it has not made durable",
		file: "recovery/state.go",
		old:  "			if st.Claim.Ordinal <= f.ordinal && !f.standIn && !yield(f, from) {\n",
		new: "			if st.Claim.Ordinal < f.ordinal && st.Claim.Ordinal > 0 && !f.standIn &&\n" +
			"				!yield(f, from) {\n",
		pkg: "./journal", run: crashes,
		cost: "records that were read after a crash are gone after the next one",
	},
	{
		name: "only the newest segment is made durable at open",
		file: "recovery/state.go",
		old: `		if err := st.settle(f, from); err != nil {
`,
		new: `		if f != st.s.chain[0] {
			continue
		}
		if err := st.settle(f, from); err != nil {
`,
		pkg: "./journal", run: crashes,
		cost: "the middle of the journal is lost by a second power cut",
	},
	{
		name: "going on in place after an unclean end",
		file: "recovery/decide.go",
		old: `	{Open, func(*facts) bool { return true }, Cut},
`,
		new: `	{Open, func(*facts) bool { return true }, Resume},
`,
		pkg: "./journal", run: crashes,
		cost: "records of an earlier life come back",
	},
	{
		name: "a torn tail is not cut off",
		file: "recovery/decide.go",
		old: `	{Torn, func(f *facts) bool { return f.tailBytes || f.above }, Cut},
`,
		new: `	{Torn, func(f *facts) bool { return f.tailBytes || f.above }, Resume},
`,
		pkg: "./journal", run: crashes,
		cost: "records of an earlier life come back",
	},
	{
		name: "the checksum leaves out the salt",
		file: "segment/frame.go",
		old: `	return salt ^ (uint64(at)<<29 | uint64(length))
`,
		new: `	return 0*salt ^ (uint64(at)<<29 | uint64(length))
`,
		pkg: "./segment", run: "^TestFrameConditions$",
		cost: "a frame of another journal, or of an earlier life, is taken for a record",
	},
	{
		name: "the checksum leaves out the length",
		file: "segment/frame.go",
		old: `	return salt ^ (uint64(at)<<29 | uint64(length))
`,
		new: `	return salt ^ (uint64(at)<<29 | 0*uint64(length))
`,
		pkg: "./segment", run: "^TestFrameEncoding$",
		cost: "a damaged length shifts where a record ends",
	},
	{
		name: "the checksum leaves out the place",
		file: "segment/frame.go",
		old: `	return salt ^ (uint64(at)<<29 | uint64(length))
`,
		new: `	return salt ^ (0*uint64(at)<<29 | uint64(length))
`,
		pkg: "./segment", run: "^TestFrameConditions$",
		cost: "a block that was written to the wrong place is taken for records",
	},
	{
		name: "the checksum leaves out the seq",
		file: "segment/frame.go",
		old: `	return checksum16(p, binding(salt, at, length), seqKind)
`,
		new: `	return checksum16(p, binding(salt, at, length), seqKind&0xff)
`,
		more: []edit{{
			"	return ^extend16(^payloadCRC, binding(salt, at, length), seqKind)\n",
			"	return ^extend16(^payloadCRC, binding(salt, at, length), seqKind&0xff)\n",
		}},
		pkg: "./segment", run: "^TestEveryBitOfEveryKind$",
		cost: "a damaged seq is taken for the right one",
	},
	{
		name: "a batch's first frame is not published last",
		file: "segment/writer.go",
		old: `			first, firstWord = f, word
		default:
			store64(f, 0, word)
		}
		w.advance(f)
`,
		new: `			first, firstWord = f, word
			store64(f, 0, word)
		default:
			store64(f, 0, word)
		}
		w.advance(f)
		w.s.publish(w.at, w.next)
`,
		pkg: "./segment", run: "^TestBatchIsSeenWhole$|^TestPublication$|^TestReadersAndWriter$",
		cost: "readers see half of a batch",
	},
	{
		name: "published before the payload is there",
		file: "segment/writer.go",
		old: `	copy(f[HeaderSize:], payload)
	w.complete(f, len(payload), crc, KindRecord)
`,
		new: `	w.complete(f, len(payload), crc, KindRecord)
	copy(f[HeaderSize:], payload)
`,
		pkg: "./segment", run: "^TestPublication$|^TestReadersAndWriter$",
		cost: "a reader of another process sees a record with the wrong bytes",
	},
	{
		name: "half a batch survives",
		file: "segment/scan.go",
		old: `	if !w.open {
		w.complete()
	}
`,
		new: `	w.complete()
`,
		pkg: "./journal", run: crashes,
		cost: "after a power cut a part of a batch is there",
	},
	{
		name: "a failed sync is repeated",
		file: "journal/sync.go",
		old: `		err := j.syncSegment(seg)
`,
		new: `		err := j.syncSegment(seg)
		if err != nil {
			err = j.syncSegment(seg)
		}
`,
		pkg: "./journal", run: errs,
		cost: "the second sync returns nil and the records are lost (fsyncgate)",
	},
	{
		name: "a failed sync is reported once, and forgotten",
		file: "journal/journal.go",
		old: `	if j.failure.CompareAndSwap(nil, &err) {
`,
		new: `	if j.failure.Load() == nil {
		defer j.failure.Store(nil)
		j.failure.Store(&err)
`,
		pkg: "./journal", run: errs + "|^TestFailedSyncIsFinal$",
		cost: "appends after the failure are acknowledged and lost",
	},
	{
		name: "the name of a segment is not synced",
		file: "segment/prepare.go",
		old: `	if err := fsys.SyncDir(dir); err != nil {
		return fail(path, Unnamed(err))
	}
`,
		new: "",
		pkg: "./journal", run: crashes,
		cost: "a whole segment of acknowledged records vanishes with its directory entry",
	},
	{
		name: "a segment is named before it is durable",
		file: "segment/prepare.go",
		old: `	if err == nil {
		err = f.Sync()
	}
	if err == nil && zeros.Primed && !f.Zero(identitySize, id.Size) {
`,
		new: `	if err == nil && zeros.Primed && !f.Zero(identitySize, id.Size) {
`,
		pkg: "./journal", run: crashes,
		cost: "a power cut leaves a damaged identity, and Open refuses",
	},
	{
		name: "JOURNAL is named before it is durable",
		file: "segment/prepare.go",
		old: `	if _, err = f.WriteAt(append(b, b...), 0); err == nil {
		err = f.Sync()
	}
`,
		new: `	_, err = f.WriteAt(append(b, b...), 0)
`,
		pkg: "./journal", run: crashes,
		cost: "a power cut leaves a damaged JOURNAL",
	},
	{
		name: "a claim of what was published while the sync ran",
		file: "journal/sync.go",
		old: `	j.mu.claim, j.mu.unclaimed = pos, true
`,
		new: `	j.mu.claim, j.mu.unclaimed = pos, true
	if w := j.mu.writer; w != nil {
		j.mu.claim = w.Position()
	}
`,
		pkg: "./journal", run: crashes,
		cost: "Open refuses a journal that a power cut has left in order",
	},
	{
		name: "durable up to what was published while the sync ran",
		file: "journal/sync.go",
		old: `	j.durable.Store(uint64(last))
`,
		new: `	j.durable.Store(uint64(j.Published()))
`,
		pkg: "./journal", run: crashes,
		cost: "records are acknowledged that no sync has covered",
	},
	{
		name: "resuming does not make the closing mark durable",
		file: "journal/journal.go",
		old:  "errors.Join(old.Drop(), seg.Dirty(scan.Claim.Offset, scan.End))",
		new:  "old.Drop()",
		pkg:  "./journal", run: errs,
		cost: "a hole in the middle of the journal after a failed sync at Close",
	},
	{
		name: "a sync forgets the segment that was sealed since",
		file: "journal/sync.go",
		old: `		if !j.syncer.pos.Less(end) || seg.Ordinal > pos.Ordinal {
`,
		new: `		if !j.syncer.pos.Less(end) || seg.Ordinal != pos.Ordinal {
`,
		pkg: "./journal", run: crashes,
		cost: "everything between two rolls is lost by a power cut",
	},
	{
		name: "files are removed before the link is durable",
		file: "journal/truncate.go",
		old: `	dropped, err := j.cutChain(keep, l)
	if err != nil {
		return err
	}
	if err := j.claimChange(); err != nil {
`,
		new: `	dropped, err := j.cutChain(keep, l)
	if err != nil {
		return err
	}
	for _, seg := range dropped {
		j.names.remove(0, seg.Ordinal)
	}
	if err := j.claimChange(); err != nil {
`,
		pkg: "./journal", run: crashes,
		cost: "a power cut during a truncation loses acknowledged records",
	},
	{
		name: "files off the chain are removed before the cutting link is durable",
		file: "journal/journal.go",
		old:  "	start := segment.Link{Base: st.Next",
		new: `	j.names.collect(st.Highest+1, 0, j.log)
	start := segment.Link{Base: st.Next`,
		pkg: "./journal", run: crashes,
		cost: "the successor that a seal names is missing, and Open refuses",
	},
	{
		name: "a truncation without the mark that claims it",
		file: "journal/truncate.go",
		old: `	claim := j.syncer.pos
	if err := j.writeMark(); errors.Is`,
		new: `	claim := j.syncer.pos
	return j.claimOutside(segment.Position{})
	if err := j.writeMark(); errors.Is`,
		pkg: "./journal", run: damages + "|" + crashes,
		cost: "one lost sector brings truncated records back",
	},
	{
		name: "JOURNAL does not say which segment is the newest",
		file: "journal/names.go",
		old: `	if n.written && n.file.Newest == ordinal {
`,
		new: `	if n.written {
`,
		pkg: "./journal", run: damages,
		cost: "a lost newest segment is not missed",
	},
	{
		name: "the successor that a seal names is discarded as spare",
		file: "recovery/state.go",
		old: `			st.s.newest != nil && st.s.newest.scan.Seal != nil &&
				f.ordinal ==`,
		new: `			false && st.s.newest.scan.Seal != nil &&
				f.ordinal ==`,
		pkg: "./journal", run: crashes,
		cost: "a crash during recovery makes the next Open refuse",
	},
	{
		name: "a prepared file is used as it is found",
		file: "segment/prepare.go",
		old: `		if err := fsys.Remove(path); err != nil {
			return nil, err
		}
		f, err = fsys.Open(path, Create)
`,
		new: `		f, err = fsys.Open(path, ReadWrite)
`,
		more: []edit{{`	if err := f.Truncate(id.Size); err != nil {
		return false, err
	}
	err = f.Allocate`, `	err = f.Truncate(id.Size)
	if err == nil && zeros.Chunk == 0 {
		_, err = f.WriteAt(id.Encode(), 0)
		return false, err
	}
	err = f.Allocate`}},
		pkg: "./segment", run: "^TestPrepare",
		cost: "bytes of an earlier life lie behind the end",
	},
	{
		name: "a bad link is taken for an unused segment",
		file: "recovery/search.go",
		old: `			if s.claim.Ordinal == f.ordinal {
`,
		new: `			if false {
`,
		more: []edit{{`	if s.claim.Ordinal > f.ordinal {
`, `	if false {
`}},
		pkg: "./journal", run: damages,
		cost: "a damaged link silently shortens the journal",
	},
	{
		name: "the next candidate is not tried",
		file: "recovery/search.go",
		old: `		f.why = "its predecessor was not durable: " + brk.err.Error()
		return false, nil
`,
		new: `		s.facts.brokenChain, s.err = true, brk.err
		return false, nil
`,
		pkg: "./journal", run: crashes,
		cost: "Open refuses what an ordinary power cut leaves",
	},
	{
		name: "nobody looks behind a lost sector",
		file: "segment/scan.go",
		old: `	t.FirstLive = m.FirstLive
	if t.Claim.Less(m.Claim) {
`,
		new: `	t.FirstLive = m.FirstLive
	if false {
`,
		pkg: "./journal", run: damages,
		cost: "a lost sector of acknowledged records looks like a clean end",
	},
	{
		name: "claims are not believed",
		file: "recovery/search.go",
		old: `	case brk != nil && brk.pos.Less(s.claim):
`,
		new: `	case brk != nil && brk.pos.Less(s.claim) && s.full:
`,
		pkg: "./journal", run: damages,
		cost: "damage to acknowledged records silently shortens the journal",
	},
	{
		name: "a torn index stays torn",
		file: "recovery/state.go",
		old: `		err = w.RestoreIndex(f.scan)
`,
		new: `		err = nil
`,
		pkg: "./journal", run: "^TestTornIndex$",
		cost: "verify reports damage after an ordinary power cut",
	},
	{
		name: "reads do not check",
		file: "segment/frame.go",
		old: `	if frameChecksum(payload, salt, off, h.length, seqKind(h.seq, h.kind)) != h.crc {
`,
		new: `	if h.kind != KindRecord &&
		frameChecksum(payload, salt, off, h.length, seqKind(h.seq, h.kind)) != h.crc {
`,
		pkg: "./journal", run: damages,
		cost: "rotten bytes are returned as a record",
	},
	{
		name: "lengths are believed",
		file: "segment/frame.go",
		old: `	if h.length < HeaderSize || int64(h.length) > room || pad8(int64(h.length)) > room {
`,
		new: `	if h.length < HeaderSize {
`,
		pkg: "./segment", run: "^TestFrameConditions$",
		cost: "a hostile file crashes the process",
	},
	{
		name: "a full disk is final",
		file: "journal/append.go",
		old: `	return fmt.Errorf("%s: %w", op, err)
}

// maxUnsynced`,
		new: `	return j.fail(err)
}

// maxUnsynced`,
		pkg: "./journal", run: "^TestNoSpaceIsRetryable$|^TestFullDisk$",
		cost: "the journal is dead after a moment without space",
	},
	{
		name: "a fault kills the process",
		file: "segment/fault.go",
		old: `	r := recover()
`,
		new: `	r := any(nil)
`,
		pkg: "./segment", run: "^TestFaults$",
		cost: "a file that is cut underneath kills the program that uses the journal",
	},
	{
		name: "a reader guesses where a record is and does not check it",
		file: "segment/read.go",
		old: `	if err != nil || !h.kind.IsRecord() || h.check(b[at:], at, s.Salt) != nil {
`,
		new: `	if err != nil || !h.kind.IsRecord() {
`,
		pkg: "./segment", run: "^TestReadDamaged",
		cost: "rotten bytes are returned as a record",
	},
	{
		name: "a sync leaves the pages of memory without a file",
		file: "segment/mapping_linux.go",
		old:  `	if m.shared && to-from`,
		new:  `	if to-from`,
		pkg:  "./journal", run: "^TestLargeSync$",
		cost: "OpenMemory loses everything with each sync",
	},
}
