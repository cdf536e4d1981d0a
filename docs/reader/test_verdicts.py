#!/usr/bin/env python3
"""What segment/FORMAT.md decides about damaged journals (§6): one case for each rule, with the verdict, the damaged
places and the records that every reader must come to. With --write DIRECTORY, writes the cases there, with a list of
them, cases.json, for the test that has the Go code read the same bytes."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

from test_reader import READER, Seg, journal_file, lines

DATA = 4208  # where the frame after a link of version 1 starts


def at(n):
    """Where the n-th frame of 24 bytes after the link starts, from 0: that of a record of up to 8 bytes."""
    return DATA + 24 * n


def rolled(first=1):
    """Segment 1 holds the records 1 to 3 and is full, segment 2 holds record 4 and a mark."""
    one, two = Seg(1), Seg(2)
    one.link().record(b"a", b"b", b"c").seal(two)
    two.link(one, seq=4, claim=(1, one.at), reason=2).record(b"d").mark(first=first)
    return one, two


def copy_as(seg, ordinal):
    """A file with the bytes of one segment and the name of another one."""
    copied = Seg(ordinal)
    copied.bytes = bytearray(seg.bytes)
    return copied


def other(ordinal):
    """A segment of another journal."""
    return Seg(ordinal, id=bytes(range(16, 32))).link().record(b"other", b"other").close()


class Case:
    """files: segments; more: other files; verdict: intact, damaged, corrupt, or refused, if newer software made the
    journal; corrupt, damaged: the places where damage costs records, and where it costs none: (file, offset)."""

    def __init__(self, name, files, verdict, out="", corrupt=(), damaged=(), journal=None, more=(), symlinks=()):
        self.name, self.verdict, self.out, self.more, self.symlinks = name, verdict, out, dict(more), dict(symlinks)
        self.files = {"%016d.seg" % s.ordinal: bytes(s.bytes) for s in files}
        self.corrupt, self.damaged = self.places(corrupt), self.places(damaged)
        self.journal = journal_file(1) if journal is None else journal

    @staticmethod
    def places(list):
        return sorted("%s %d" % (file if isinstance(file, str) else "%016d.seg" % file, at) for file, at in list)

    def write(self, folder):
        os.mkdir(folder)
        contents = {**self.files, **self.more}
        if self.journal:
            contents["JOURNAL"] = self.journal
        for name, data in contents.items():
            with open(os.path.join(folder, name), "wb") as f:
                f.write(data)
        for name, target in self.symlinks.items():
            os.symlink(target, os.path.join(folder, name))


def batches():
    """D1, D2: the records of a batch that precede damage in it are left."""
    def one():
        return Seg(1).link().record(b"a").batch(b"b", b"c", b"d")
    left = lines(1, b"a", b"b", b"c")
    yield Case("D1 batch at the end", [one().mark().damage(at(3) + 16)], "corrupt", left, [(1, at(3))])
    yield Case("D1 batch at the end, not claimed", [one().damage(at(3) + 16)], "intact", lines(1, b"a"))

    def sealed():
        one_, two, three = one().mark(), Seg(2), Seg(3)
        one_.seal(two)
        two.link(one_, seq=5, claim=(1, one_.at), reason=2).record(b"e", b"f").mark().seal(three)
        return one_, two, three.link(two, seq=7, claim=(2, two.at), reason=2).record(b"g").mark()
    one_, *more = sealed()
    yield Case("D2 batch in a sealed segment", [one_.damage(at(3) + 16), *more], "corrupt", left, [(1, at(3))])
    one_, two, three = sealed()
    yield Case("D2 batch in a sealed segment, and damage above", [
        one_.damage(at(3) + 16), two.damage(at(1) + 16), three], "corrupt", left, [(1, at(3)), (2, at(1))])


def dropped():
    """D3, D4: damage that costs no live record."""
    for what, byte in (("payload", 16), ("length", 0), ("seq", 9)):
        one, two = rolled(first=3)
        yield Case("D3 dropped record's " + what, [one.damage(at(0) + byte), two], "damaged", lines(3, b"c", b"d"),
                   damaged=[(1, at(0))])
    one, two = rolled(first=3)
    yield Case("D3 dropped and first live record", [one.damage(at(0) + 16).damage(at(2) + 16), two], "corrupt",
               corrupt=[(1, at(0))])
    one, two = rolled(first=2)
    yield Case("D3 two dropped places", [one.damage(at(0) + 16).damage(at(2) + 16), two], "corrupt",
               lines(2, b"b"), [(1, at(2))], [(1, at(0))])
    seg = Seg(1).link().record(b"a", b"b", b"c").mark(first=3).record(b"d").mark(first=3)
    yield Case("D3 in the newest segment", [seg.damage(at(1) + 16)], "damaged", lines(3, b"c", b"d"),
               damaged=[(1, at(1))])
    seg = Seg(1).link().record(b"a", b"b").close(first=3)
    yield Case("D3 nothing is live", [seg.damage(at(0) + 16)], "damaged", damaged=[(1, at(0))])
    seg = Seg(1).link().batch(b"a", b"b", b"c", b"d").mark(first=3)
    yield Case("D3 beginning of a batch", [seg.damage(at(0) + 16)], "damaged", lines(3, b"c", b"d"),
               damaged=[(1, at(0))])
    seg = Seg(1).link().record(b"a", b"b").mark(claim=(1, at(0)), first=2)
    yield Case("D3 above the claim", [seg.damage(at(0) + 16)], "intact")
    one, two = rolled()
    yield Case("D3 seal", [one.damage(one.at - 60), two], "damaged", lines(1, b"a", b"b", b"c", b"d"),
               damaged=[(1, one.at - 80)])
    one, two = Seg(1).link().record(b"a").mark(), Seg(2)
    one.seal(two)
    two.link(one, seq=2, claim=(1, one.at), reason=2).record(b"b").mark()
    yield Case("D3 mark before a seal", [one.damage(at(1) + 20), two], "damaged", lines(1, b"a", b"b"),
               damaged=[(1, at(1))])
    one, two = Seg(1).link().mark().record(b"a"), Seg(2)
    one.seal(two)
    two.link(one, seq=2, claim=(1, one.at), reason=2).record(b"b").mark()
    yield Case("D3 mark before the first record", [one.damage(DATA + 20), two], "damaged", lines(1, b"a", b"b"),
               damaged=[(1, DATA)])
    one, two = Seg(1).link().record(b"a").mark().record(b"b"), Seg(2)
    one.seal(two)
    two.link(one, seq=3, claim=(1, one.at), reason=2).record(b"c").mark()
    yield Case("D3 mark between records", [one.damage(at(1) + 20), two], "corrupt", lines(1, b"a"), [(1, at(1))])
    one, two = rolled()
    yield Case("D3 index", [one.damage(one.at), two], "damaged", lines(1, b"a", b"b", b"c", b"d"),
               damaged=[(1, one.at)])

    one, two = Seg(1), Seg(2)
    one.link().record(b"a", b"b").seal(two)
    two.link(one, seq=3, reason=2).mark(first=3).damage(4100)
    yield Case("D4 link of the segment that says what is live", [one, two], "corrupt", corrupt=[(2, 4096)])
    one, two = rolled(first=3)
    yield Case("D4 the same, with a live record below", [one, two.damage(4100)], "corrupt", lines(3, b"c"),
               [(2, 4096)])


def newer():
    """D5, D6: frames of newer software."""
    seg = Seg(1).link().record(b"a").frame(9, b"new", pad=1)
    yield Case("D5 unknown kind with bad padding", [seg], "intact", lines(1, b"a"))
    for kind in (9, 0x21, 0):
        yield Case("D6 unknown kind %#x at the end" % kind, [Seg(1).link().record(b"a").frame(kind, b"new")], "refused")
        one, two = Seg(1).link().record(b"a").frame(kind, b"new"), Seg(2)
        one.seal(two)
        two.link(one, seq=2, claim=(1, one.at), reason=2).record(b"b").mark()
        yield Case("D6 unknown kind %#x in the chain" % kind, [one, two], "refused")
    one, two = Seg(1).link().record(b"a"), Seg(2)
    end = one.at
    one.frame(9, b"dead")
    two.link(one, seq=2, end=end, claim=(1, end), reason=4).close()
    yield Case("D6 unknown kind off the chain", [one, two], "intact", lines(1, b"a"))
    one, two = rolled()
    yield Case("D6 unknown kind below damage", [one.damage(at(0) + 16), two.frame(9, b"new")], "refused")


def above():
    """D7: what is wrong above the newest segment, in the order in which one is named."""
    def one():
        return Seg(1).link().record(b"a", b"b").close()
    left, two = lines(1, b"a", b"b"), Seg(2)
    yield Case("D7 bad identity and gap", [one(), two, Seg(4).damage(99)], "corrupt", left, [(4, 0)])
    yield Case("D7 gap below a bad identity", [one(), Seg(3), Seg(5).damage(99)], "corrupt", left, [(5, 0)])
    yield Case("D7 two gaps", [one(), Seg(3), Seg(5)], "corrupt", left, [(2, 0)])
    yield Case("D7 two bad identities", [one(), Seg(2).damage(99), Seg(3).damage(99)], "corrupt", left, [(2, 0)])
    yield Case("D7 bad identity and JOURNAL's newest", [one(), Seg(2).damage(99)], "corrupt", "", [(2, 0), (5, 0)],
               journal=journal_file(5))
    yield Case("D7 gap, and no JOURNAL", [one(), Seg(3)], "corrupt", "", [(2, 0)], [("JOURNAL", 0)], journal=b"")
    yield Case("D7 JOURNAL's newest", [one()], "corrupt", "", [(3, 0)], journal=journal_file(3))
    sealed = Seg(1).link().record(b"a", b"b").seal(two)
    yield Case("D7 successor and bad identity", [sealed, Seg(3).damage(99)], "corrupt", left, [(2, 0)])


def strays():
    """D8, D11: files with the name of a segment that are no segment of the journal."""
    out, base = lines(1, b"a", b"b", b"c", b"d"), rolled()
    named = journal_file(2)
    yield Case("D8 of another journal, above", [*base, other(3)], "intact", out, journal=named)
    yield Case("D8 of another journal, far above", [*base, Seg(3), other(9)], "intact", out, journal=named)
    yield Case("D8 of another journal, above, where JOURNAL names a segment", [*base, other(3)], "corrupt", "",
               [(3, 0)], journal=journal_file(3))
    yield Case("D8 of another journal, in place of one", [other(1), base[1]], "corrupt", "", [(1, 0)], journal=named)
    yield Case("D8 of another journal, in place of the newest", [base[0], other(2)], "corrupt",
               lines(1, b"a", b"b", b"c"), [(2, 0)], journal=named)
    new = Seg(2).link(seq=4, first=4, reason=5).record(b"d").close(first=4)
    yield Case("D8 of another journal, off the chain", [other(1), new], "intact", lines(4, b"d"), journal=named)
    yield Case("D8 of another journal, and nothing else", [other(1)], "corrupt", "", [(1, 0)])
    yield Case("D8 of another journal, beside an empty one", [other(1)], "intact", journal=journal_file(0))
    yield Case("D8 of another journal, and no JOURNAL", [*base, other(3)], "corrupt", "", [(3, 0)], [("JOURNAL", 0)],
               journal=b"")
    yield Case("D8 copy above", [*base, copy_as(base[0], 9)], "intact", out, journal=named)
    yield Case("D8 copy above, of another journal", [*base, copy_as(other(1), 9)], "intact", out, journal=named)
    yield Case("D8 copy above, and no JOURNAL", [*base, copy_as(base[0], 3)], "corrupt", "", [(3, 0)],
               [("JOURNAL", 0)], journal=b"")
    yield Case("D8 copy in place of one", [copy_as(base[1], 1), base[1]], "corrupt", "", [(1, 0)], journal=named)
    yield Case("D8 damaged copy above", [*base, copy_as(base[0], 9).damage(99)], "corrupt", out, [(9, 0)],
               journal=named)
    yield Case("D8 damaged file off the chain", [other(1).damage(99), new], "damaged", lines(4, b"d"),
               damaged=[(1, 0)], journal=named)

    yield Case("D11 symbolic link in place of a segment", base[1:], "corrupt", "", [(1, 0)], journal=named,
               more={".moved": bytes(base[0].bytes)}, symlinks={"%016d.seg" % 1: ".moved"})
    yield Case("D11 symbolic link above", base, "intact", out, journal=named,
               symlinks={"%016d.seg" % 9: "%016d.seg" % 2})
    yield Case("D11 symbolic link off the chain", [new], "intact", lines(4, b"d"), journal=named,
               symlinks={"%016d.seg" % 1: "%016d.seg" % 2})
    yield Case("D11 symbolic link called JOURNAL", base, "damaged", out, damaged=[("JOURNAL", 0)], journal=b"",
               more={".moved": named}, symlinks={"JOURNAL": ".moved"})
    yield Case("D11 other names", base, "intact", out, journal=named, more={
        "notes.txt": b"", "1.seg": b"x", "%016d.seg.bak" % 1: b"x", "JOURNAL.bak": b"x", "%016d.seg" % 0: b"x"})


def first_live():
    """D9: the first live seq is not one of the journal's."""
    seg = Seg(1).link().record(b"a", b"b").mark().record(b"c")
    place = seg.at
    yield Case("D9 above the next seq", [seg.mark(first=9)], "corrupt", "", [(1, place)])
    yield Case("D9 above the next seq, in an earlier mark", [seg.record(b"d").mark(first=9)], "corrupt", "",
               [(1, seg.at - 56)])
    seg = Seg(1).link(seq=5, first=4).record(b"e")
    yield Case("D9 below the base seq", [seg.mark(first=4).record(b"f")], "corrupt", lines(5, b"e"), [(1, at(1))])
    yield Case("D9 below the base seq, in the link", [Seg(1).link(seq=5, first=4).record(b"e")], "corrupt", "",
               [(1, 4096)])


def two_places():
    """D10: a break below the claim, and a bad identity above the newest segment."""
    def base():
        one, two = rolled()
        return one.damage(at(1) + 16), two
    yield Case("D10 prepared segment", [*base(), Seg(3).damage(99)], "corrupt", lines(1, b"a"), [(1, at(1))],
               journal=journal_file(2))
    yield Case("D10 segment that JOURNAL names", [*base(), Seg(3).damage(99)], "corrupt", "", [(1, at(1)), (3, 0)],
               journal=journal_file(3))
    one, two = base()
    three = Seg(3)
    two.seal(three)
    three.link(two, seq=5, claim=(2, two.at), reason=2).record(b"e").mark()
    yield Case("D10 segment that a seal names", [one, two, three.damage(99)], "corrupt", lines(1, b"a"),
               [(1, at(1)), (3, 0)], journal=journal_file(1, claim=(3, DATA)))


def cases():
    for group in (batches, dropped, newer, above, strays, first_live, two_places):
        yield from group()


class VerdictTest(unittest.TestCase):
    def test_each_case_is_there(self):
        self.assertEqual({case.name.split()[0] for case in cases()}, {"D%d" % n for n in range(1, 12)})

    def test_verdicts(self):
        for case in cases():
            with self.subTest(case.name), tempfile.TemporaryDirectory() as folder:
                folder = os.path.join(folder, "journal")
                case.write(folder)
                run = subprocess.run([sys.executable, "-B", READER, folder], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE, universal_newlines=True)
                found = [line.split(": ", 1) for line in run.stderr.splitlines()]
                places = {what: sorted("%s %s" % (rest.split(" ")[0], rest.split(" ")[3].strip(":,"))
                                       for kind, rest in found if kind == what) for what in ("corrupt", "damaged")}
                code = {"intact": 0, "refused": 3}.get(case.verdict, 1)
                self.assertEqual((run.returncode, run.stdout), (code, case.out), run.stderr)
                self.assertEqual(places, {"corrupt": case.corrupt, "damaged": case.damaged}, run.stderr)


def write_all(folder):
    list = []
    for i, case in enumerate(cases()):
        case.write(os.path.join(folder, str(i)))
        list.append({"dir": str(i), "name": case.name, "verdict": case.verdict, "corrupt": case.corrupt,
                     "damaged": case.damaged, "records": case.out})
    with open(os.path.join(folder, "cases.json"), "w") as f:
        json.dump(list, f)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_all(sys.argv[2])
    else:
        unittest.main()
