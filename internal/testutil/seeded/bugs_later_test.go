package seeded_test

// laterBugs are the traps of what comes after appending: truncations, the end of a life, opening
// the next one, and reading.
var laterBugs = []bug{
	{
		name: "a reader goes over a damaged mark",
		file: "segment/reader.go",
		old:  "		err = h.check(f, r.at, r.s.Salt)\n",
		new:  "",
		pkg:  "./segment", run: "^TestReaderDamagedMark$",
		cost: "damage below a durable claim is not noticed",
	},
	{
		name: "a fault hides what was copied before it",
		file: "segment/reader.go",
		old:  "err != nil && len(r.rest) == 0 {",
		new:  "err != nil {",
		pkg:  "./segment", run: "^TestReaderFaultsLate$",
		cost: "records that can be read are not",
	},
	{
		name: "JOURNAL does not say what was dropped in front",
		file: "recovery/left.go",
		old: `		s.firstLive = max(s.firstLive, j.FirstLive)
`,
		new: `		s.firstLive = max(s.firstLive, 0)
`,
		pkg: "./journal", run: "^TestEveryBit$/^front$",
		cost: "cat shows dropped records of a damaged journal",
	},
	{
		name: "JOURNAL is asked what was dropped of a segment above its claim",
		file: "recovery/left.go",
		old:  "; j != nil && f.ordinal <= j.Claim.Ordinal {\n",
		new:  "; j != nil {\n",
		pkg:  "./journal", run: "^TestDamageAfterResetBelow$",
		cost: "what precedes the damage is not shown after a reset to a lower seq",
	},
	{
		name: "Close removes segments that are ready from the lowest up",
		file: "journal/factory.go",
		old:  "slices.Backward(l.ready)",
		new:  "slices.All(l.ready)",
		pkg:  "./journal", run: crashes,
		cost: "a power cut leaves a gap, and Open refuses",
	},
	{
		name: "Close goes on behind a segment that stays",
		file: "journal/names.go",
		old:  "		if _, err := n.remove(0, ordinal); err != nil {\n",
		new:  "		if _, err := n.remove(0, ordinal); errors.Is(err, ErrClosed) {\n",
		pkg:  "./journal", run: "^TestReadyRemoved$",
		cost: "Open refuses a journal with a gap",
	},
	{
		name: "Close does not look for what a preparation that failed has left above",
		file: "journal/factory.go",
		old:  "	if len(l.ready) > 0 && l.failed > 0 {\n",
		new:  "	if len(l.ready) > 0 && l.failed > 1e9 {\n",
		pkg:  "./journal", run: "^TestFailedAboveReady$",
		cost: "Open refuses a journal with a gap",
	},
	{
		name: "Close removes segments that are ready though the directory could not be synced",
		file: "journal/journal.go",
		old:  "j.failed() == nil && !left.unnamed {",
		new:  "j.failed() == nil {",
		pkg:  "./journal", run: "^TestFailedAboveReady$",
		cost: "a power cut leaves a gap, and Open refuses",
	},
	{
		name: "Open removes segments that are ready beside what was removed, and not durably",
		file: "journal/names.go",
		old:  "	if len(spare) > 0 {\n",
		new:  "	if len(spare) > 1e9 {\n",
		pkg:  "./journal", run: "^TestKillInClose$",
		cost: "a kill in Close and a power cut in Open leave a gap, and Open refuses",
	},
	{
		name: "who waits for a segment that is ready waits for the second, too",
		file: "journal/factory.go",
		old:  "		f.idle.Wait()\n		if i := f.fitLocked(need); i >= 0 {\n",
		new:  "		f.idle.Wait()\n		if i := f.fitLocked(need); i >= 0 && !f.mu.busy {\n",
		pkg:  "./journal", run: "^TestTakeFirst$", hangs: true,
		cost: "the longest appends take twice as long",
	},
	{
		name: "a truncation counts as a segment that was full at once",
		file: "journal/factory.go",
		old:  "	if full {\n		f.mu.pace.need(",
		new:  "	{\n		f.mu.pace.need(",
		pkg:  "./journal", run: "^TestCutsAreNoHurry$",
		cost: "two segments are ready for a slow journal, and they are not primed",
	},
	{
		name: "a second segment is not prepared before the first one is taken",
		file: "journal/factory.go",
		old:  "		for err == nil && f.wantLocked() {\n",
		new:  "		for err == nil && f.mu.busy && f.wantLocked() {\n",
		pkg:  "./journal", run: "^TestTwoReady$",
		cost: "appends wait for a segment behind the sync of many",
	},
	{
		name: "the last segment that is ready goes first",
		file: "journal/factory.go",
		old: "	seg, skipped = f.mu.ready[i], slices.Clone(f.mu.ready[:i])\n" +
			"	f.mu.ready = slices.Delete(f.mu.ready, 0, i+1)\n",
		new: "	seg = f.mu.ready[len(f.mu.ready)-1]\n" +
			"	f.mu.ready = f.mu.ready[:len(f.mu.ready)-1]\n" +
			"	_, skipped = slices.Delete([]int{0}, 0, 1), skipped[i*0:]\n",
		pkg: "./journal", run: crashes,
		cost: "a segment links to one behind it, and Open refuses",
	},
	{
		name: "Close does not sync its mark",
		file: "journal/journal.go",
		old: `	if err == nil {
		err = j.syncChange()
	}
	if err != nil || j.isQuiet() { // a stand-in claims it
`,
		new: `	if err != nil || j.isQuiet() { // a stand-in claims it
`,
		pkg: "./journal", run: crashes,
		also: []tests{{"./journal", "^TestModelClose$"}},
		cost: "after a power cut a journal that was closed is not known to be whole",
	},
	{
		name: "a truncation that drops nothing syncs nothing",
		file: "journal/truncate.go",
		old: `		if err := j.syncAll(); err != nil || last == j.Last() {
			return err
		}
`,
		new: `		if last == j.Last() {
			return nil
		}
		if err := j.syncAll(); err != nil {
			return err
		}
`,
		pkg: "./journal", run: crashes,
		cost: "records that precede a truncation are lost by a power cut",
	},
	{
		name: "an iteration reads the bounds again for the error that it yields",
		file: "journal/read.go",
		old:  "			yield(Record{}, err)\n			return\n		}\n		w := walker",
		new: "			b = j.bounds()\n			yield(Record{}, b.check(from, b.first, b.last+1))\n" +
			"			return\n		}\n		w := walker",
		pkg: "./journal", run: "^TestBeyondTheEnd$/^Records$",
		cost: "an iteration yields a record that does not exist, and no error",
	},
	{
		name: "a truncation reads the bounds again for the error that it returns",
		file: "journal/truncate.go",
		old:  "		if err := b.check(first, b.first, b.last+1); err != nil {\n			return err\n",
		new: "		if err := b.check(first, b.first, b.last+1); err != nil {\n" +
			"			b = j.bounds()\n			return b.check(first, b.first, b.last+1)\n",
		pkg: "./journal", run: "^TestBeyondTheEnd$/^TruncateFront$",
		cost: "a truncation returns nil and drops nothing",
	},
	{
		name: "an iteration does not notice a truncation",
		file: "journal/read.go",
		old:  " || w.cuts != v.cuts ||",
		new:  " ||",
		pkg:  "./journal", run: "^TestTruncateDuringIteration$",
		cost: "a reader is shown records that were truncated away",
	},
	{
		name: "an iteration takes what it has copied for whole",
		file: "segment/copy.go",
		old:  "				uint32(first>>32) {\n",
		new:  "				uint32(first>>32) && len(f) <= 5*HeaderSize {\n",
		pkg:  "./segment", run: ".",
		cost: "damage is handed to a reader as a record",
	},
	{
		name: "an iteration takes any record for the next one",
		file: "segment/copy.go",
		old:  "			second>>8 != uint64(seq) || ",
		new:  "			",
		pkg:  "./segment", run: ".",
		cost: "a record is yielded under the seq of another",
	},
	{
		name: "what was settled is not read again",
		file: "segment/read.go",
		old:  "	return from >= end && seq == s.Next(), nil\n",
		new:  "	return true, nil\n",
		more: []edit{{
			"		if err != nil || h.seq != seq {\n			return false, nil\n",
			"		if err != nil || h.seq != seq {\n			return true, nil\n",
		}},
		pkg: "./recovery", run: "^TestSettleLooksAgain$",
		also: []tests{{"./journal", errs}},
		cost: "what the disk has lost is shown as durable",
	},
	{
		name: "what the second look says is ignored",
		file: "journal/journal.go",
		old: `		if held {
			return st, nil
`,
		new: `		if held || err == nil {
			return st, nil
`,
		pkg: "./journal", run: errs,
		cost: "what the disk has lost is shown as durable",
	},
	{
		name: "retention drops a segment that is needed",
		file: "journal/truncate.go",
		old: `	for n+1 < len(chain) && chain[n+1].Link.Base <= first {
`,
		new: `	for n+1 < len(chain) && chain[n].Link.Base <= first {
`,
		pkg: "./journal", run: "^TestSoak$",
		cost: "live records vanish with the segment before them",
	},
	{
		name: "one look at a journal that is written to is enough",
		file: "recovery/state.go",
		old: `	if !o.Live {
`,
		new: `	if o.Live || !o.Live {
`,
		pkg: "./journal", run: "^TestSoak$",
		cost: "a reader beside a writer is told that the journal is corrupt",
	},
	{
		name: "what a killed truncation has left is left for good",
		file: "journal/names.go",
		old:  "DeleteFunc(append(st.Dead(), st.Prepared()...), ",
		new:  "DeleteFunc(st.Prepared(), ",
		pkg:  "./journal", run: "^TestSoak$",
		cost: "the disk fills with segments that nobody needs",
	},
	{
		name: "resuming does not look again at the closing mark",
		file: "journal/journal.go",
		old: `	if err == nil && !held {
		err = fmt.Errorf("%s: the closing mark`,
		new: `	if err != nil && !held {
		err = fmt.Errorf("%s: the closing mark`,
		pkg: "./journal", run: "^TestResumeLooksAgain$",
		also: []tests{{"./journal", errs}},
		cost: "acknowledged records behind a hole are lost by a power cut",
	},
	{
		name: "a function that ends its goroutine leaves half a frame",
		file: "segment/fault.go",
		old:  "	if w.at != w.before.end {\n",
		new:  "	if r != nil && w.at != w.before.end {\n",
		pkg:  "./segment", run: "^TestAppendFuncRefused$",
		cost: "the next group is written over durable records",
	},
	{
		name: "a file that was cut short is believed to end in a hole",
		file: "segment/data.go",
		old:  "err != nil || size < s.Size {",
		new:  "err != nil || size < 0 {",
		pkg:  "./segment", run: "^TestExtents$",
		cost: "records that somebody cut off are gone without an error",
	},
	{
		name: "behind the first hole nothing is looked for",
		file: "segment/data.go",
		old:  "		off = to\n",
		new:  "		off = size + 0*to\n",
		pkg:  "./segment", run: "^TestExtents$|^TestScanOfHoles$",
		cost: "lost pages with a claim behind them are cut off as a torn tail",
	},
	{
		name: "full segments that were synced count one record too many",
		file: "journal/sync.go",
		old:  "l.Base - 1, j.view.Load().chain, nil",
		new:  "l.Base, j.view.Load().chain, nil",
		pkg:  "./journal", run: "^TestSealedAreDurable$",
		cost: "a record of the active segment is called durable, and lost by a power cut",
	},
	{
		name: "a truncation counts as a group",
		file: "journal/sync.go",
		old:  " && last > j.Durable() {",
		new:  " && last >= 0 {",
		pkg:  "./journal", run: "^TestTruncationsAreNoGroups$",
		cost: "a journal that is truncated once is slow from then on",
	},
}
