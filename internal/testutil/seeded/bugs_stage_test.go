package seeded_test

import "slices"

var bugs = slices.Concat(protocolBugs, formatBugs, stageBugs, recycleBugs, laterBugs,
	directoryBugs, verdictBugs, spaceBugs, salvageBugs)

// stageBugs are the traps of appends that are staged, and moved by the sync.
var stageBugs = []bug{
	{
		name: "a group's first frame is there with the rest",
		file: "segment/stage.go",
		old: `		st.word = word
		return
`,
		new: `		st.word = word
`,
		pkg: "./segment", run: "^TestGroupIsSeenAtOnce$",
		cost: "another process sees a group, or a batch of it, in parts",
	},
	{
		name: "a group is published before it is written",
		file: "segment/stage.go",
		old:  "	if err := g.write(); err != nil {\n		return err\n	}\n	s.m.notify()\n",
		new:  "	s.publish(g.end, g.next)\n	if err := g.write(); err != nil {\n		return err\n	}\n",

		pkg: "./segment", run: "^TestGroupIsSeenAtOnce$|^TestTakeWaits$",
		cost: "a reader is told of corruption where a record is about to be",
	},
	{
		name: "the error of the write that moves a group is swallowed",
		file: "segment/stage.go",
		old: `	_, err := f.WriteAt(p, int64(at))
	return err
`,
		new: `	f.WriteAt(p, int64(at))
	return nil
`,
		pkg: "./journal", run: errs,
		cost: "records are acknowledged that were never written",
	},
	{
		name: "the first failed group does not fail those after it",
		file: "segment/stage.go",
		old: `	if st.err == nil && len(g.buf) > 0 {
`,
		new: `	if st.err = nil; len(g.buf) > 0 {
`,
		pkg: "./segment", run: "^TestMoveFails$",
		cost: "what lies behind a hole is shown, and lost at the next Open",
	},
	{
		name: "a roll does not move what is staged",
		file: "journal/append.go",
		old: `	if err := w.Take().Move(); err != nil {
		return errors.Join(j.fail(err), seg.Drop())
	}
	why :=`,
		new: `	why :=`,
		pkg: "./journal", run: "^TestRollMovesWhatIsStaged$",
		cost: "acknowledged records were never written",
	},
	{
		name: "an append that was refused stays on the stage",
		file: "segment/writer.go",
		old: `		w.stage.shorten(b.staged)
`,
		new: "",
		pkg: "./segment", run: "^TestStagedAppendFuncRefused$|^TestWriterStandsAfterFault$",
		cost: "everything behind it is written to the wrong place",
	},
	{
		name: "acknowledged with the group that was moved before",
		file: "journal/sync.go",
		old: `		return j.fail(err)
	}
	if !j.syncer.pos.Less(pos) {
`,
		new: `		return j.fail(err)
	}
	j.mu.Lock()
	if w := j.mu.writer; w != nil {
		pos, last, chain = w.Position(), w.Next()-1, j.view.Load().chain
	}
	j.mu.Unlock()
	if !j.syncer.pos.Less(pos) {
`,
		pkg: "./journal", run: "^TestStagedDuringMove$",
		cost: "what is staged while a group is moved is acknowledged, and not even written",
	},
	{
		name: "who takes does not wait for the group that is being moved",
		file: "segment/stage.go",
		old: `	if w.stage == nil {
		return Group{}
	}
	w.stage.moving.Lock()
`,
		new: `	if w.stage == nil || len(w.stage.buf) == 0 {
		return Group{}
	}
	w.stage.moving.Lock()
`,
		pkg: "./segment", run: "^TestTakeWaits$",
		cost: "a segment is sealed before its last group is there",
	},
	{
		name: "what is moved ahead counts as durable",
		file: "journal/sync.go",
		old:  "\tif err := group.Move(); err != nil {\n\t\treturn j.fail(err)\n\t}\n\treturn nil\n",
		new: "\tif err := group.Move(); err != nil {\n\t\treturn j.fail(err)\n\t}\n" +
			"\tj.durable.Store(uint64(j.Published()))\n\treturn nil\n",
		pkg: "./journal", run: "^TestMovedAhead$",
		cost: "a power cut during the sync takes acknowledged records",
	},
	{
		name: "a fault leaves half an append",
		file: "segment/fault.go",
		old: `	if w.at != w.before.end {
`,
		new: `	if *err == nil && w.at != w.before.end {
`,
		pkg: "./segment", run: "^TestWriterStandsAfterFault$",
		cost: "a sync that waits for the lock writes the next group over durable records",
	},
	{
		name: "a sync does not see that an append has just failed",
		file: "journal/sync.go",
		old: `	if err := j.failed(); err != nil || j.mu.writer == nil {
		return pos, 0, nil, group, err
`,
		new: `	if err := error(nil); j.mu.writer == nil {
		return pos, 0, nil, group, err
`,
		pkg: "./journal", run: "^TestNoSyncAfterFailure$",
		cost: "records are acknowledged after a failure",
	},
}
