package recovery

// Label names a state in which a journal's directory can be found.
type Label string

// The labels. The decision table says which one applies.
const (
	Newer         Label = "newer"          // a file was made by newer software
	Foreign       Label = "foreign"        // segments of different journals
	BrokenChain   Label = "broken chain"   // durable frames are damaged, or their segment is missing
	DamagedEnd    Label = "damaged end"    // a claim lies after the end of the newest segment
	LostSuccessor Label = "lost successor" // the segment that the newest one's seal names is missing
	Gap           Label = "gap"            // an ordinal above the newest segment is missing
	BadIdentity   Label = "bad identity"   // a segment above the newest one has a damaged identity
	LostNewest    Label = "lost newest"    // JOURNAL names a segment that does not exist
	BadFirstLive  Label = "bad first live" // the first live seq is not in the chain
	Empty         Label = "empty"          // no record was ever written, or none survived
	Clean         Label = "clean"          // closed cleanly
	Torn          Label = "torn"           // bytes after the end that no claim covers
	Open          Label = "open"           // not closed, but nothing after the end
)

// Action is what an Open for writing does.
type Action string

const (
	Refuse Action = "refuse" // change nothing, return the error
	Start  Action = "start"  // link a fresh segment that has no predecessor
	Resume Action = "resume" // continue in the newest segment
	Cut    Action = "cut"    // link a fresh segment to where the newest one ends
)

// facts are the predicates that the label depends on.
type facts struct {
	newer, foreign          bool
	brokenChain, damagedEnd bool
	found                   bool // a newest segment
	lostSuccessor, gap      bool
	badIdentity, lostNewest bool
	badFirstLive            bool
	cleanMark               bool // a closing mark at the end
	recycled                bool // the newest segment is a recycled one
	gaps                    bool // there are damaged frames of dropped records in the newest segment
	standIn                 bool // the newest segment is a link in JOURNAL
	tailBytes, above        bool // bytes behind the end; bytes in segments above
}

// row is one line of the decision table.
type row struct {
	label  Label
	holds  func(f *facts) bool
	action Action
}

// table is tried from top to bottom; the last row holds always.
var table = []row{
	{Newer, func(f *facts) bool { return f.newer }, Refuse},
	{Foreign, func(f *facts) bool { return f.foreign }, Refuse},
	{BrokenChain, func(f *facts) bool { return f.brokenChain }, Refuse},
	{DamagedEnd, func(f *facts) bool { return f.damagedEnd }, Refuse},
	{LostSuccessor, func(f *facts) bool { return f.lostSuccessor }, Refuse},
	{BadIdentity, func(f *facts) bool { return f.badIdentity }, Refuse},
	{Gap, func(f *facts) bool { return f.gap }, Refuse},
	{LostNewest, func(f *facts) bool { return f.lostNewest }, Refuse},
	{BadFirstLive, func(f *facts) bool { return f.badFirstLive }, Refuse},
	{Torn, func(f *facts) bool { return !f.found && (f.tailBytes || f.above) }, Start},
	{Empty, func(f *facts) bool { return !f.found }, Start},
	{Torn, func(f *facts) bool { return f.tailBytes || f.above }, Cut},
	// Behind the end of a recycled segment not all is zero. Nothing is appended where what an
	// earlier life has left could be taken for what comes next.
	{Clean, func(f *facts) bool { return f.cleanMark && f.recycled }, Cut},
	{Clean, func(f *facts) bool { return f.cleanMark && f.gaps }, Cut},
	// A stand-in has no file to append to.
	{Clean, func(f *facts) bool { return f.cleanMark && f.standIn }, Cut},
	{Clean, func(f *facts) bool { return f.cleanMark }, Resume},
	{Open, func(*facts) bool { return true }, Cut},
}

// decide returns the label that the facts have, and what to do.
func decide(f *facts) (Label, Action) {
	for _, r := range table {
		if r.holds(f) {
			return r.label, r.action
		}
	}
	panic("recovery: the last row of the table holds always")
}
