package seeded_test

// formatBugs are those of the two copies in JOURNAL, of links of newer software, and of features.
var formatBugs = []bug{
	{
		name: "only the first copy in JOURNAL is read",
		file: "segment/journalfile.go",
		old:  "		return copies[1], faults, nil\n	case second != nil:",
		new:  "		return j, faults, first\n	case second != nil:",
		pkg:  "./segment", run: "^TestJournalCopies$",
		also: []tests{
			{"./recovery", "^TestJournalCopies$"}, {"./journal", "^TestModelDamagedJournalFile$"},
		},
		cost: "an update that a power cut interrupts takes back what it follows",
	},
	{
		name: "the generation of a copy in JOURNAL does not count",
		file: "segment/journalfile.go",
		old:  "copies[0].Generation < copies[1].Generation",
		new:  "copies[0].Generation > copies[1].Generation",
		pkg:  "./segment", run: "^TestJournalCopies$",
		also: []tests{{"./recovery", "^TestJournalCopies$"}},
		cost: "what an interrupted update said is forgotten, a cut for example",
	},
	{
		name: "a bad copy in JOURNAL is not written anew",
		file: "journal/names.go",
		old:  "= *st.Journal, !st.Faults.Any()",
		new:  "= *st.Journal, true",
		pkg:  "./journal", run: "^TestOneBadCopy$",
		cost: "the next bad sector takes the other copy",
	},
	{
		name: "a journal that may only be read is opened for writing",
		file: "journal/journal.go",
		old:  "cmp.Or(st.ReadOnly, st.Foreign)",
		new:  "cmp.Or(error(nil), st.Foreign)",
		pkg:  "./journal", run: "^TestFeatures$",
		cost: "what newer software keeps in the journal is truncated away",
	},
}
