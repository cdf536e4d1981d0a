package recovery

import (
	"fmt"
	"reflect"
	"testing"
)

// predicates returns the facts one by one, so that a test can set them.
func predicates(f *facts) []*bool {
	return []*bool{
		&f.newer, &f.foreign, &f.brokenChain, &f.damagedEnd, &f.found, &f.lostSuccessor, &f.gap,
		&f.badIdentity, &f.lostNewest, &f.badFirstLive, &f.cleanMark, &f.recycled, &f.standIn,
		&f.tailBytes, &f.above, &f.gaps,
	}
}

// TestLabels: one case for each label, with the facts that lead to it.
func TestLabels(t *testing.T) {
	for _, c := range []struct {
		label  Label
		action Action
		facts  facts
	}{
		{Newer, Refuse, facts{newer: true}},
		{Newer, Refuse, facts{newer: true, foreign: true, found: true, brokenChain: true}},
		{Foreign, Refuse, facts{foreign: true}},
		{BrokenChain, Refuse, facts{brokenChain: true, tailBytes: true}},
		{DamagedEnd, Refuse, facts{damagedEnd: true, found: true, cleanMark: true}},
		{LostSuccessor, Refuse, facts{found: true, lostSuccessor: true, gap: true}},
		{BadIdentity, Refuse, facts{found: true, badIdentity: true, cleanMark: true}},
		{Gap, Refuse, facts{found: true, gap: true, above: true}},
		{LostNewest, Refuse, facts{found: true, lostNewest: true, cleanMark: true}},
		{LostNewest, Refuse, facts{lostNewest: true}},
		{BadFirstLive, Refuse, facts{found: true, badFirstLive: true, cleanMark: true}},
		{Empty, Start, facts{}},
		{Torn, Start, facts{above: true}},
		{Torn, Cut, facts{found: true, tailBytes: true}},
		{Torn, Cut, facts{found: true, above: true}},
		{Torn, Cut, facts{found: true, cleanMark: true, tailBytes: true}},
		{Torn, Cut, facts{found: true, cleanMark: true, above: true}},
		{Clean, Resume, facts{found: true, cleanMark: true}},
		{Clean, Cut, facts{found: true, cleanMark: true, recycled: true}},
		{Clean, Cut, facts{found: true, cleanMark: true, gaps: true}},
		{Torn, Cut, facts{found: true, cleanMark: true, recycled: true, tailBytes: true}},
		{Clean, Cut, facts{found: true, cleanMark: true, standIn: true}},
		{Torn, Cut, facts{found: true, cleanMark: true, standIn: true, above: true}},
		{Open, Cut, facts{found: true, recycled: true}},
		{Open, Cut, facts{found: true}},
	} {
		label, action := decide(&c.facts)
		if label != c.label || action != c.action {
			t.Errorf("%+v: %s, %s; want %s, %s", c.facts, label, action, c.label, c.action)
		}
	}
}

// TestEveryCombination walks all combinations of the facts.
func TestEveryCombination(t *testing.T) {
	var f facts
	list := predicates(&f)
	if n := reflect.TypeFor[facts]().NumField(); n != len(list) {
		t.Fatalf("there are %d facts, this test knows %d", n, len(list))
	}
	decides := make([]int, len(table)) // for how many combinations each row does
	labels := map[Label]bool{}
	for bits := range 1 << len(list) {
		for i, p := range list {
			*p = bits>>i&1 == 1
		}
		label, action := decide(&f)
		first := -1
		for i, r := range table {
			if r.holds(&f) {
				first = i
				break
			}
		}
		if first < 0 || table[first].label != label || table[first].action != action {
			t.Fatalf("%+v: %s, %s, but row %d is the first that applies", f, label, action, first)
		}
		decides[first]++
		labels[label] = true
		if err := allowed(&f, label, action); err != nil {
			t.Errorf("%+v: %s, %s: %v", f, label, action, err)
		}
	}
	for i, n := range decides {
		if n == 0 {
			t.Errorf("row %d (%s) never decides", i, table[i].label)
		}
	}
	all := []Label{Newer, Foreign, BrokenChain, DamagedEnd, LostSuccessor, Gap, BadIdentity,
		LostNewest, BadFirstLive, Empty, Clean, Torn, Open}
	for _, l := range all {
		if !labels[l] {
			t.Errorf("label %q is never given", l)
		}
	}
	if len(labels) != len(all) {
		t.Errorf("%d labels are given, this test knows %d", len(labels), len(all))
	}
}

// allowed says, without the table, why a decision is wrong.
func allowed(f *facts, label Label, action Action) error {
	bad := f.newer || f.foreign || f.brokenChain || f.damagedEnd || f.lostSuccessor || f.gap ||
		f.badIdentity || f.lostNewest || f.badFirstLive
	bytesBehind := f.tailBytes || f.above
	switch {
	case bad != (action == Refuse):
		return fmt.Errorf("damage: %v, but the action is %s", bad, action)
	case f.newer && label != Newer:
		return fmt.Errorf("files of newer software are judged by rules that may not hold")
	case action == Resume && (!f.found || !f.cleanMark || bytesBehind || f.recycled || f.gaps ||
		f.standIn):
		return fmt.Errorf("goes on writing where the journal does not end cleanly")
	case action == Cut && !f.found:
		return fmt.Errorf("links to a segment that there is not")
	case action == Start && f.found:
		return fmt.Errorf("forgets the journal that is there")
	case !bad && bytesBehind != (label == Torn):
		return fmt.Errorf("bytes that no claim covers: %v", bytesBehind)
	case !bad && label == Clean != (f.found && f.cleanMark && !bytesBehind):
		return fmt.Errorf("is it clean?")
	case !bad && label == Empty != (!f.found && !bytesBehind):
		return fmt.Errorf("is it empty?")
	}
	return nil
}

// TestTableIsTotal: the last row holds always, so decide never panics; a label that refuses never
// does anything else.
func TestTableIsTotal(t *testing.T) {
	if last := table[len(table)-1]; !last.holds(&facts{}) {
		t.Error("the last row does not hold")
	}
	refuses := map[Label]bool{}
	for _, r := range table {
		if was, ok := refuses[r.label]; ok && was != (r.action == Refuse) {
			t.Errorf("%s refuses in one row and not in another", r.label)
		}
		refuses[r.label] = r.action == Refuse
	}
}
