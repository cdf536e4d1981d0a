#!/usr/bin/env python3
"""Tests mmjournal_reader.py with small journals, built here by an encoder of their own (see segment/FORMAT.md)."""
import fcntl
import importlib.util
import os
import struct
import subprocess
import sys
import tempfile
import unittest

READER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mmjournal_reader.py")
ID, SIZE = bytes(range(16)), 16384
RECORD, BATCH, BATCH_END, MARK, LINK, SEAL, VOID = range(1, 8)
TIME = 1_700_000_000_000_000_000


def crc_of_byte(crc):
    for _ in range(8):
        crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc


CRC_TABLE = [crc_of_byte(byte) for byte in range(256)]


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[crc & 255 ^ byte]
    return crc ^ 0xFFFFFFFF


def with_crc(data):
    return data + struct.pack("<I", crc32c(data))


def journal_copy(newest, id=ID, version=1, claim=(0, 0), live=0, generation=3, features=(0, 0, 0), size=0, stand_in=b""):
    start = with_crc(b"mmjrnl\r\n" + struct.pack("<I", version))
    fields = struct.pack("<QqIII4xQQQQQ16x", generation, TIME, *features, newest, *claim, live, size) + stand_in
    return with_crc((start + id + fields).ljust(4092, b"\0"))


def journal_file(*args, **kwargs):
    return 2 * journal_copy(*args, **kwargs)


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


class Seg:
    """One segment under construction; `at` is where the next frame goes."""

    def __init__(self, ordinal, size=SIZE, id=ID, version=1, features=(0, 0, 0), named=None, named_size=None):
        self.ordinal, self.salt, self.size, self.at, self.seq = ordinal, 0xA5A5 << 40 | ordinal * 0x10001, size, 4096, 1
        start = with_crc(b"mmjseg\r\n" + struct.pack("<I", version))
        identity = start + id + struct.pack("<QQQqIII", ordinal if named is None else named, self.salt,
                                            named_size or size, TIME, *features)
        self.bytes = bytearray(with_crc(identity.ljust(4092, b"\0")).ljust(size, b"\0"))
        self.time, self.oldest, self.entries, self.records, self.base = TIME, TIME, [], 0, 1

    def frame(self, kind, payload=b"", seq=None, pad=0):
        length, word = 16 + len(payload), (self.seq if seq is None else seq) << 8 | kind
        crc = crc32c(payload + struct.pack("<QQ", self.salt ^ (self.at << 29 | length), word))
        frame = struct.pack("<IIQ", length, crc, word) + payload
        frame = frame.ljust((length + 7) // 8 * 8, bytes([pad]))
        self.bytes[self.at:self.at + len(frame)] = frame
        if kind in (RECORD, BATCH, BATCH_END):
            if not self.entries or self.entries[-1][1] * 8 // 4096 != self.at // 4096:
                self.entries.append((self.seq - self.base, self.at // 8, self.time))
            self.records += 1
            self.seq += 1
        self.at += len(frame)
        return self

    def link(self, prev=None, seq=1, first=1, claim=(0, 0), end=None, salt=None, reason=1, more=bytes(32)):
        self.seq = self.base = seq
        where = (0, 0, 0)
        if prev:
            where = (prev.ordinal, prev.salt if salt is None else salt, prev.at if end is None else end)
        return self.frame(LINK, struct.pack("<QQQQQQqQ", *where, first, *claim, self.time, reason) + more)

    def record(self, *payloads):
        for payload in payloads:
            self.frame(RECORD, payload)
        return self

    def batch(self, *payloads, complete=True):
        for i, payload in enumerate(payloads):
            self.frame(BATCH_END if complete and i == len(payloads) - 1 else BATCH, payload)
        return self

    def mark(self, claim=None, first=1, flags=0, seq=None):
        self.time += 1000
        claim = claim or (self.ordinal, self.at)
        return self.frame(MARK, struct.pack("<QQQqQ", *claim, first, self.time, flags), seq)

    def close(self, first=1):
        return self.mark(first=first, flags=1)

    def seal(self, successor, count=None, salt=None):
        index = b"".join(struct.pack("<IIq", *entry) for entry in self.entries)
        self.frame(SEAL, struct.pack("<QqqQQQIIQ", self.records if count is None else count, self.oldest, self.time,
                                     successor.ordinal, successor.salt if salt is None else salt, self.at + 80,
                                     len(self.entries), crc32c(index + struct.pack("<Q", self.salt)), 0))
        self.bytes[self.at:self.at + len(index)] = index
        return self

    def put(self, at, data):
        self.bytes[at:at + len(data)] = data
        return self

    def damage(self, at):
        self.bytes[at] ^= 1
        return self


def lines(first, *payloads):
    return "".join("%d\t%s\n" % (first + i, payload.hex()) for i, payload in enumerate(payloads))


class ReaderTest(unittest.TestCase):
    def test_crc32c(self):
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)

    def check(self, segments, out="", code=0, err=None, journal=None, files=(), args=()):
        """Runs the reader. err: pieces of stderr, in order, or None: nothing at all. journal: JOURNAL, b"" for none."""
        with tempfile.TemporaryDirectory() as folder:
            if journal is None:
                journal = journal_file(min((s.ordinal for s in segments), default=0))
            contents = dict(files)
            contents.update({"%016d.seg" % s.ordinal: bytes(s.bytes) for s in segments})
            if journal:
                contents["JOURNAL"] = journal
            for name, data in contents.items():
                with open(os.path.join(folder, name), "wb") as f:
                    f.write(data)
            run = subprocess.run([sys.executable, "-B", READER, *args, folder], stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, universal_newlines=True, timeout=1800)
        self.assertEqual((run.returncode, run.stdout), (code, out), run.stderr)
        if err is None:
            self.assertEqual(run.stderr, "")
        rest = run.stderr
        for piece in err or ():
            self.assertIn(piece, rest, run.stderr)
            rest = rest[rest.index(piece) + len(piece):]

    # ---- a writer that writes over old files ----

    def test_recycled_meanwhile(self):
        spec = importlib.util.spec_from_file_location("mmjournal_reader", READER)
        reader = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(reader)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "%016d.seg" % 1)
            with open(path, "wb") as f:
                f.write(self.one().bytes)
            found = reader.Segment(path, 1)
            self.assertIsNone(found.fault)
            with open(path, "r+b") as f:
                with self.assertRaises(BlockingIOError):
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it is mapped
                f.write(Seg(1, id=bytes(range(1, 17))).link().record(b"other").bytes)
            reader.Segment.data.fget.cache_clear()
            with self.assertRaisesRegex(ValueError, "is another segment by now"):
                found.data
            with open(path, "r+b") as f:
                fcntl.flock(f, fcntl.LOCK_EX)
                with self.assertRaises(OSError):
                    reader.Segment(path, 1)

    # ---- a writer that is active ----

    def test_damage_counts_only_if_the_next_scan_finds_the_same(self):
        """§1. What each scan finds: a list of damage; or an exception."""
        spec = importlib.util.spec_from_file_location("mmjournal_reader", READER)
        reader = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(reader)

        def scan(*findings):
            rest = iter(findings)
            class Journal:
                def __init__(self, path):
                    self.found = next(rest)
                    if isinstance(self.found, Exception): raise self.found
                def damage(self):
                    return self.found
            reader.Journal = Journal
            return reader.read("journal").found, len(list(rest))

        gone = FileNotFoundError("2.seg")
        for findings, found, left in (
                ([[], ["a"]], [], 1),
                ([["a"], []], [], 0),
                ([["a"], ["a"]], ["a"], 0),
                ([["a"], ["b"], ["a"], ["a", "b"], ["a", "b"], []], ["a", "b"], 1),  # "b" is not the same as "a"
                ([gone, ["a"], ["a"]], ["a"], 0),
                ([gone, []], [], 0),
                ([[str(n)] for n in range(20)] + [[]], [], 0)):
            self.assertEqual(scan(*findings), (found, left))
        with self.assertRaises(FileNotFoundError):
            scan(gone, gone, [])
        with self.assertRaisesRegex(ValueError, "changed during every scan; the last one found .*20"):
            scan(*[[str(n)] for n in range(21)])

    # ---- one segment ----

    def one(self):
        return Seg(1).link().record(b"hello", b"", b"\0\xff" * 50)

    ONE = lines(1, b"hello", b"", b"\0\xff" * 50)

    def test_clean(self):
        self.check([self.one().close()], self.ONE)

    def test_quiet(self):
        self.check([self.one().close()], "", args=["--quiet"])

    def test_open(self):
        self.check([self.one()], self.ONE)

    def test_empty_journals(self):
        self.check([], journal=journal_file(0))
        self.check([Seg(1), Seg(2)], journal=journal_file(0))
        self.check([Seg(1).link()])
        self.check([Seg(1).link(seq=7, first=7).close(first=7)])

    def test_void_and_batches(self):
        seg = Seg(1).link().frame(VOID, b"xyz").batch(b"a", b"b", b"c").frame(VOID).batch(b"d", b"e").close()
        self.check([seg], lines(1, b"a", b"b", b"c", b"d", b"e"))
        lone = Seg(1).link().record(b"a").batch(b"a batch of one is no batch")
        self.check([lone], lines(1, b"a"), err=["torn tail"])

    def test_other_files_are_ignored(self):
        self.check([self.one().close()], self.ONE, files={"LOCK": b"12", "0000000000000002.seg.tmp": b"x", "a.tmp": b"",
                                                          ".x": b"", "notes.txt": b"", "0000000000000000.seg": b""})

    def test_large_payload(self):
        data = bytes(range(256)) * 120 + b"abc"
        self.check([Seg(1, size=65536).link().record(data, b"x").close()], lines(1, data, b"x"))

    def test_frames_to_the_very_end(self):
        seg = Seg(1, size=8192).link().record(bytes([7]) * (4096 - 112 - 16))
        self.assertEqual(seg.at, 8192)
        self.check([seg], lines(1, bytes([7]) * 3968))

    def test_torn(self):
        seg = self.one().mark()
        end = seg.at
        seg.record(b"lost " * 10).damage(end + 20)
        self.check([seg], self.ONE, err=["torn tail", "0000000000000001.seg", "offset %d, 66 bytes" % end])

    def test_torn_far_behind(self):
        seg = self.one().mark()
        self.check([seg.put(12345, b"\1")], self.ONE, err=["offset %d, %d bytes" % (seg.at, 12346 - seg.at)])

    def test_bad_padding_is_torn(self):
        seg = self.one()
        end = seg.at
        self.check([seg.frame(RECORD, b"abc", pad=1)], self.ONE, err=["torn tail", "offset %d" % end])

    def test_bad_lengths_are_torn(self):
        for length in (1, 15, 1 << 20, 0xFFFFFFFF):
            seg = self.one()
            seg.put(seg.at, struct.pack("<IIQ", length, 5, 4 << 8 | 1))
            self.check([seg], self.ONE, err=["offset %d" % seg.at])

    def test_frames_out_of_order_are_torn(self):
        for add in (lambda s: s.frame(RECORD, b"x", seq=9), lambda s: s.frame(LINK, bytes(96)),
                    lambda s: s.frame(MARK, bytes(48)), lambda s: s.frame(VOID, b"", seq=3),
                    lambda s: s.mark(claim=(1, s.at + 8)), lambda s: s.mark(claim=(2, 0))):
            seg = self.one()
            end = seg.at
            self.check([add(seg)], self.ONE, err=["torn tail", "offset %d" % end])

    def test_a_frame_elsewhere_or_of_another_segment_does_not_verify(self):
        seg, other = self.one(), Seg(2).link().record(b"hello", b"", b"\0\xff" * 50)
        copy = bytes(seg.bytes[4096 + 112:4096 + 112 + 24])
        other.seq = 4
        start = other.at
        other.record(b"other")
        self.check([self.one().put(seg.at, copy)], self.ONE, err=["offset %d" % seg.at])
        self.check([self.one().put(seg.at, bytes(other.bytes[start:other.at]))], self.ONE, err=["offset %d" % seg.at])

    def test_incomplete_batch(self):
        seg = self.one().mark()
        end = seg.at
        self.check([seg.batch(b"x", b"y", complete=False)], self.ONE, err=["torn tail", "offset %d, " % end])

    def test_batch_interrupted_by_another_frame(self):
        for add in (lambda s: s.record(b"r"), lambda s: s.frame(VOID), lambda s: s.mark(claim=(0, 0))):
            seg = self.one()
            end = seg.at
            self.check([add(seg.batch(b"x", complete=False))], self.ONE, err=["torn tail", "offset %d, " % end])

    def test_bad_bit_below_a_claim(self):
        seg = self.one()
        self.check([seg.mark().record(b"z").damage(4096 + 112 + 17)], code=1, err=["corrupt", "1.seg at offset 4208"])

    def test_every_bad_bit_below_the_claim_is_found(self):
        seg = self.one().close()
        starts = [4208, 4232, 4248, seg.at - 56, seg.at]
        for at in range(4208, seg.at - 56, 5):
            good = sum(end <= at for end in starts[1:])
            out = "".join(line + "\n" for line in self.ONE.splitlines()[:good])
            self.check([self.one().close().damage(at)], out, 1, ["corrupt", "offset %d:" % starts[good]])

    def test_zeroed_sector_below_a_claim(self):
        seg = Seg(1).link().record(b"a" * 1000, b"b" * 1000, b"c" * 1000, b"d" * 1000).close()
        self.check([seg.put(4608, bytes(1536))], code=1, err=["offset 4208:"])

    def test_damage_above_the_claim_is_torn(self):
        seg = self.one().mark()
        end = seg.at
        self.check([seg.record(b"x", b"y").damage(end + 16)], self.ONE, err=["torn tail", "offset %d" % end])

    def test_closing_mark_damaged(self):
        seg = self.one()
        end = seg.at
        self.check([seg.mark(claim=(0, 0)).damage(end + 16)], self.ONE, err=["torn tail", "offset %d, " % end])

    def test_link_damaged_below_a_claim(self):
        self.check([self.one().close().damage(4100)], code=1, err=["1.seg at offset 4096"])

    def test_link_damaged_without_claims(self):
        self.check([self.one().damage(4100)], err=["torn tail", "1.seg at offset 4096"])

    def test_first_live_seq(self):
        self.check([self.one().close(first=3)], lines(3, b"\0\xff" * 50))
        self.check([self.one().close(first=4)], "")
        self.check([self.one().close(first=5)], "", 1, ["first live seq 5"])
        self.check([self.one().mark(first=2).close(first=3)], lines(3, b"\0\xff" * 50))
        self.check([Seg(1).link(seq=5, first=4).record(b"e").close(first=4)], lines(5, b"e"), 1, ["first live seq 4"])

    def test_unknown_kind_and_flags(self):
        for kind in (8, 31, 0x21, 0x41, 0x81, 0):
            seg = self.one()
            self.check([seg.frame(kind, b"new").close()], "", 3, ["unknown kind"])
        self.check([Seg(1).frame(0x25, bytes(96))], "", 3, ["unknown kind"])
        self.check([Seg(1).frame(0x25, bytes(96)), Seg(2).link(seq=9, first=9).record(b"x")], lines(9, b"x"))

    def test_marks_and_seals_that_make_no_sense(self):
        """Condition 8: such a frame is invalid, although its checksum is right."""
        for flags in (2, 3):
            seg = self.one()
            end = seg.at
            self.check([seg.mark(flags=flags)], self.ONE, err=["torn tail", "offset %d, " % end])
        seg = self.one()
        end = seg.at
        self.check([seg.mark(claim=(1, 4208), flags=1)], self.ONE, err=["torn tail", "offset %d, " % end])
        for field, value in ((0, 2), (3, 0), (5, end), (8, 1)):
            seg, two = self.one(), Seg(2)
            fields = [3, TIME, TIME, 2, two.salt, end + 80, 0, 0, 0]
            fields[field] = value
            self.check([seg.frame(SEAL, struct.pack("<QqqQQQIIQ", *fields)), two], self.ONE,
                       err=["torn tail", "1.seg at offset %d, " % end])

    def test_mark_with_another_seq_is_searched_for(self):
        """Only its claim counts: it says that the end is damaged."""
        seg = self.one()
        end = seg.at
        self.check([seg.put(end, bytes(24))], self.ONE)
        seg.at = end + 24
        self.check([seg.mark(seq=99)], self.ONE, 1, ["1.seg at offset %d" % end])
        seg = self.one().put(end, bytes(24))
        seg.at = end + 24
        self.check([seg.mark(seq=99, claim=(1, end))], self.ONE, err=["torn tail"])

    # ---- identities and JOURNAL ----

    def test_bad_identities(self):
        for seg in (self.one().damage(0), self.one().damage(13), self.one().damage(20), self.one().damage(2000),
                    self.one().damage(4095), Seg(1, named=2), Seg(1, named_size=8192), Seg(1, size=4096),
                    Seg(1, size=12000)):
            self.check([seg], "", 1, ["corrupt", "0000000000000001.seg at offset 0"])
        for size in (0, 1, 15, 4095):
            self.check([], "", 1, ["1.seg at offset 0"], files={"0000000000000001.seg": bytes(self.one().bytes[:size])})
        self.check([], "", 1, ["1.seg at offset 0"], files={"0000000000000001.seg": bytes(self.one().bytes[:8192])})
        for at, value in ((40, bytes(8)), (76, b"\1"), (4091, b"\1")):  # salt 0; bytes that must be zero
            seg = self.one().put(at, value)
            seg.put(4092, struct.pack("<I", crc32c(bytes(seg.bytes[:4092]))))
            self.check([seg], "", 1, ["1.seg at offset 0: zero salt, or other bytes not zero"])

    def test_newer_segments(self):
        self.check([self.one(), Seg(2, version=2)], "", 3, ["version 2"])
        self.check([self.one(), Seg(2, features=(4, 0, 0))], "", 3, ["features"])

    def test_two_journals(self):
        self.check([self.one(), Seg(2, id=bytes(16))], self.ONE, 0, ["stray: 0000000000000002.seg at offset 0"])
        self.check([self.one()], "", 1, ["1.seg at offset 0: belongs to another"],
                   journal=journal_file(1, id=bytes(16)))

    def test_bad_identity_off_the_chain(self):
        old = Seg(1).link().record(b"dead")
        new = Seg(2).link(seq=8, first=8, reason=5).record(b"x").close(first=8)
        self.check([old, new], lines(8, b"x"))
        self.check([old.damage(50), new], lines(8, b"x"), 1, ["1.seg at offset 0"])

    def test_journal_file_damaged(self):
        good = journal_copy(1)
        for copy in [good[:n] for n in (15, 128, 4095)] + [flip(good, at) for at in (0, 9, 12, 33, 50, 87, 2000, 4095)]:
            second = copy.ljust(4096, b"\0")
            for journal in (copy, second + copy):
                self.check([self.one().close()], self.ONE, 1, ["damaged: JOURNAL at offset 0"], journal=journal)
            self.check([self.one().close()], self.ONE, 0, ["bad copy: JOURNAL at offset 4096"], journal=good + copy)
            self.check([self.one().close()], self.ONE, 0, ["bad copy: JOURNAL at offset 0"], journal=second + good)
        for journal in (b"x", b""):
            self.check([self.one().close()], self.ONE, 1, ["damaged: JOURNAL at offset 0"], journal=journal)
        self.check([self.one().close()], self.ONE, 0, ["bad copy: JOURNAL at offset 4096"], journal=good)
        self.check([self.one().close()], self.ONE, 0, ["bad copy: JOURNAL at offset 8192"], journal=2 * good + b"x")
        self.check([self.one().close()], self.ONE, 1, ["JOURNAL at offset 0: copies of two journals"],
                   journal=good + journal_copy(1, id=bytes(16)))

    def test_journal_copies(self):
        """The higher generation counts: only that copy says that there is a segment 2."""
        old, new = journal_copy(1, generation=9), journal_copy(2, generation=10)
        for journal in (old + new, new + old):
            self.check([self.one().close()], "", 1, ["2.seg at offset 0: missing"], journal=journal)
            self.check([self.one().close(), Seg(2)], self.ONE, journal=journal)
        self.check([self.one().close()], self.ONE, 0, ["bad copy"], journal=old + flip(new, 99))
        self.check([self.one().close()], "", 1, ["bad copy", "2.seg at offset 0"], journal=flip(old, 99) + new)

    def test_features(self):
        """§9: an unknown incompatible one is refused, the other classes are read."""
        for features, code in (((1, 0, 0), 3), ((1 << 31, 1, 1), 3), ((0, 1, 0), 0), ((0, 0, 1 << 31), 0)):
            out, err = ("", ["features"]) if code else (self.ONE, None)
            used = bytearray(journal_copy(1, features=features)[:4092])
            used[60] = used[4091] = 1  # bytes that such a feature may use
            for copy in (journal_copy(1, features=features), with_crc(bytes(used))):
                self.check([self.one()], out, code, err, journal=2 * copy)
            self.check([self.one()], out, code, err, journal=journal_copy(1) + copy)
        for features, code in (((2, 0, 0), 3), ((3, 0, 0), 3), ((0, 4, 0), 0), ((0, 0, 4), 0), ((1, 4, 4), 0)):
            seg = Seg(1, features=features).put(80, b"x")
            seg.put(4092, struct.pack("<I", crc32c(bytes(seg.bytes[:4092])))).link()
            self.check([seg], "", code, ["features"] if code else None)

    def test_stand_in(self):
        """Its form: §2."""
        one = self.one()
        link = struct.pack("<QQQQQQqQ32s", 1, one.salt, one.at, 1, 1, one.at, TIME, 4, b"reserved, and not checked")
        for data, good in ((struct.pack("<QQ", 2, 4) + link, True), (struct.pack("<QQ", 0, 0), True),
                           (struct.pack("<QQ", 1, 4) + link, False), (struct.pack("<QQ", 2, 0) + link, False),
                           (struct.pack("<QQ", 2, 1 << 56) + link, False), (struct.pack("<QQ", 0, 4), False),
                           (struct.pack("<QQ", 0, 0) + link, False)):
            out, code, err = self.ONE, 0 if good else 1, None if good else ["JOURNAL at offset 0: an impossible stand-in"]
            self.check([self.one(), Seg(2)], out, code, err, journal=journal_file(1, stand_in=data))
        # §6: it is a segment, and what it cuts off is not there whatever it holds
        def stand_in(ordinal, *args, base=4, first=1, claim=(0, 0)):
            where = (args[0].ordinal, args[0].salt, args[1]) if args else (0, 0, 0)
            return struct.pack("<QQQQQQQQqQ32x", ordinal, base, *where, first, *claim, TIME, 6)
        one = Seg(1).link().record(b"a", b"b", b"c")
        cut, claim = one.at, (1, one.at)
        one.record(b"dropped").mark()
        two = Seg(2).link(one, seq=5).record(b"dropped, too").mark()
        journal = journal_file(4, claim=claim, stand_in=stand_in(4, one, cut, claim=claim))
        self.check([one, two, Seg(3)], lines(1, b"a", b"b", b"c"), journal=journal)
        self.check([one], lines(1, b"a", b"b", b"c"), journal=journal)
        self.check([one, Seg(5)], lines(1, b"a", b"b", b"c"), journal=journal)
        self.check([one, two], lines(2, b"b", b"c"), journal=journal_file(
            4, claim=claim, stand_in=stand_in(4, one, cut, first=2, claim=claim)))
        self.check([one, two], journal=journal_file(3, stand_in=stand_in(3, base=9, first=9)))
        self.check([two], journal=journal_file(3, stand_in=stand_in(3, one, cut, first=4)))
        # a segment above it takes its place, once its link is there; a torn one does not
        five = Seg(5).link(one, seq=4, end=cut, claim=claim).record(b"anew").close()
        self.check([one, two, five], lines(1, b"a", b"b", b"c", b"anew"), journal=journal)
        five = Seg(5).link(one, seq=4, end=cut, claim=claim).record(b"anew")
        self.check([one, two, five.damage(4100)], lines(1, b"a", b"b", b"c"),
                   err=["torn tail: 0000000000000005.seg at offset 4096"], journal=journal)
        # damage below what it claims, a lost predecessor, a gap above
        self.check([one.damage(4208 + 24), two], lines(1, b"a"), 1, ["1.seg at offset 4232"], journal=journal)
        self.check([two], "", 1, ["1.seg at offset 0"], journal=journal)
        one.damage(4208 + 24)
        self.check([one, Seg(6)], lines(1, b"a", b"b", b"c"), 1, ["5.seg at offset 0"], journal=journal)
        for size, good in ((8192, True), (16 << 30, True), (4096, False), (8200, False)):
            self.check([self.one()], self.ONE, 0 if good else 1, None if good else ["bad segment size"],
                       journal=journal_file(1, size=size))

    def test_long_links(self):
        for n, good in ((0, False), (24, False), (32, True), (33, True), (40, True), (3432, True), (3433, False)):
            seg = Seg(1).link(more=b"n" * n).record(b"x")
            self.check([seg], lines(1, b"x") if good else "", 0, None if good else ["torn tail"])
        one, two = Seg(1).link(more=bytes(3432)).record(b"x"), Seg(2)
        two.link(one, seq=2, reason=3, more=bytes(99)).record(b"y").close()
        self.check([one, two], lines(1, b"x", b"y"))

    def test_first_live_of_a_damaged_journal(self):
        """The newest segment, the only one that says what is live, is lost: JOURNAL says it, below its claim."""
        one, two = Seg(1).link().record(b"a", b"b", b"c"), Seg(2)
        one.seal(two)
        two.link(one, 4, first=3)
        two.mark(first=3)
        two.damage(0)
        for claim, live, out in (((2, 4208), 3, lines(3, b"c")), ((0, 0), 3, lines(1, b"a", b"b", b"c")),
                                 ((1, 4232), 2, lines(2, b"b", b"c"))):
            self.check([one, two], out, 1, ["2.seg at offset 0"], journal=journal_file(2, claim=claim, live=live))

    def test_journal_file_not_zero(self):
        data = journal_file(1)[:4092]
        for at in (60, 232, 4091):
            self.check([self.one()], self.ONE, 1, ["JOURNAL at offset 0: not zero"],
                       journal=2 * with_crc(data[:at] + b"\1" + data[at + 1:]))

    def test_directory_with_the_name_of_a_segment_is_a_stray(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "0000000000000001.seg"))
            with open(os.path.join(folder, "JOURNAL"), "wb") as f:
                f.write(journal_file(0))
            run = subprocess.run([sys.executable, "-B", READER, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((run.returncode, run.stdout), (0, b""))
        self.assertIn(b"stray: 0000000000000001.seg at offset 0: a directory", run.stderr)

    def test_journal_file_newer(self):
        self.check([self.one()], "", 3, ["version 2"], journal=journal_file(1, version=2))
        self.check([self.one()], "", 3, ["version 2"], journal=journal_copy(1) + journal_copy(1, version=2))
        self.check([self.one()], "", 3, ["version 2"], journal=journal_copy(1, version=2)[:16])

    def test_not_a_journal(self):
        self.check([], "", 3, ["not a journal"], journal=b"")
        self.check([], "", 1, ["JOURNAL at offset 0: wrong magic"], journal=b"a text that is called JOURNAL")
        run = subprocess.run([sys.executable, "-B", READER, READER + ".none"], stderr=subprocess.PIPE)
        self.assertEqual(run.returncode, 3)

    def test_usage(self):
        for args in ([], ["a", "b"], ["--what", "a"]):
            run = subprocess.run([sys.executable, "-B", READER, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertEqual(run.returncode, 2)

    # ---- several segments ----

    def rolled(self, claim=True, more=True):
        """Segment 1 is full, 2 goes on behind its seal, 3 is prepared."""
        one, two, three = Seg(1), Seg(2), Seg(3)
        one.link().record(b"a" * 3000, b"b" * 3000).mark().record(b"c" * 3000).seal(two)
        if more:
            two.link(one, seq=4, claim=(1, one.at + 32) if claim else (0, 0), reason=2).record(b"d", b"e")
        return one, two, three

    ABC = (b"a" * 3000, b"b" * 3000, b"c" * 3000)
    ROLLED = lines(1, *ABC, b"d", b"e")

    def test_roll(self):
        one, two, three = self.rolled()
        self.check([one, two, three], self.ROLLED)
        self.check([one, two.close()], self.ROLLED)

    def test_sealed_newest(self):
        one, two, three = self.rolled(more=False)
        self.check([one, two, three], lines(1, *self.ABC))
        self.check([one.put(one.at + 32, b"\1"), two], lines(1, *self.ABC))  # nothing is torn behind a seal

    def test_sealed_newest_without_its_successor(self):
        one, two, three = self.rolled(more=False)
        self.check([one], lines(1, *self.ABC), 1, ["2.seg at offset 0: missing"])
        one = Seg(1).link().record(b"x").seal(two, salt=5)
        self.check([one, two], lines(1, b"x"), 1, ["2.seg at offset 0"])
        one = Seg(1).link().record(b"x").seal(three)
        self.check([one, two], lines(1, b"x"), 1, ["3.seg at offset 0"])

    def test_seal_out_of_order_is_torn(self):
        for prepare in (lambda s: s.batch(b"x", complete=False), lambda s: setattr(s, "seq", 9)):
            seg = self.one()
            end = seg.at
            prepare(seg)
            self.check([seg.seal(Seg(2)), Seg(2)], self.ONE, err=["torn tail", "1.seg at offset %d, " % end])

    def test_index_damaged_below_a_claim(self):
        one, two, three = self.rolled()
        one.damage(one.at + 20)
        self.check([one, two.close()], self.ROLLED, 1, ["damaged", "1.seg at offset %d" % one.at])

    def test_index_damaged_above_all_claims(self):
        one, two, three = self.rolled(claim=False)
        self.check([one.damage(one.at), two], self.ROLLED, err=["torn index", "1.seg at offset %d" % one.at])
        one, two, three = self.rolled(more=False)
        self.check([one.damage(one.at), two], lines(1, *self.ABC), err=["torn index", "1.seg at offset %d" % one.at])

    def test_index_that_disagrees_with_the_frames(self):
        one, two = Seg(1), Seg(2)
        one.link().record(*self.ABC)
        one.entries[1] = one.entries[0]
        one.seal(two)
        two.link(one, seq=4, claim=(1, one.at)).close()
        self.check([one, two], lines(1, *self.ABC), 1, ["1.seg"])

    def test_seal_that_disagrees_with_the_frames(self):
        one, two = Seg(1), Seg(2)
        one.link().record(b"x").seal(two, count=2)
        at = one.at - 80
        two.link(one, seq=2, claim=(1, one.at)).close()
        self.check([one, two], lines(1, b"x"), 1, ["1.seg at offset %d" % at])

    def test_damage_in_an_older_segment(self):
        one, two, three = self.rolled()
        self.check([one.damage(4096 + 112 + 3016 + 99), two.close()], lines(1, self.ABC[0]), 1, ["1.seg at offset 7224"])

    def test_damage_twice_prints_only_what_precedes_both(self):
        one, two, three = self.rolled()
        two.close().seal(three)
        three.link(two, seq=6, claim=(2, two.at)).record(b"f").close()
        one.damage(7332)
        self.check([one, two.damage(4096 + 112 + 16), three], lines(1, self.ABC[0]), 1, ["2.seg at offset 4208"])

    def test_older_segment_missing_or_replaced(self):
        one, two, three = self.rolled()
        self.check([two.close()], "", 1, ["0000000000000001.seg at offset 0"])
        one.salt += 1
        other = Seg(1)
        other.salt = one.salt
        struct.pack_into("<Q", other.bytes, 40, one.salt)
        struct.pack_into("<I", other.bytes, 4092, crc32c(bytes(other.bytes[:4092])))
        self.check([other.link().record(b"x"), two], "", 1, ["1.seg at offset 0"])
        self.check([Seg(1, version=1).damage(99), two], "", 1, ["1.seg at offset 0"])

    def test_link_damaged_in_an_older_segment(self):
        one, two, three = self.rolled()
        self.check([one.damage(4111), two.close()], "", 1, ["1.seg at offset 4096"])

    def test_dropped_segments_need_not_exist(self):
        one, two, three = self.rolled()
        two.close(first=4)
        self.check([two, three], lines(4, b"d", b"e"), journal=journal_file(2))
        self.check([one, two, three], lines(4, b"d", b"e"))
        self.check([one.damage(7332), two, three], lines(4, b"d", b"e"))
        two.mark(first=5)
        self.check([two], lines(5, b"e"), journal=journal_file(2))

    def test_truncated_back_with_dead_bytes(self):
        one, two = Seg(1), Seg(2)
        one.link().record(b"a", b"b")
        end = one.at
        one.record(b"dead", b"dead").close()
        two.link(one, seq=3, end=end, claim=(1, end), reason=4).record(b"c").close()
        self.check([one, two], lines(1, b"a", b"b", b"c"), journal=journal_file(2))
        self.check([one.damage(end + 17).damage(9000), two], lines(1, b"a", b"b", b"c"), journal=journal_file(2))
        self.check([one.put(end, bytes(range(256))), two], lines(1, b"a", b"b", b"c"))

    def test_newer_frames_in_dead_bytes_do_not_matter(self):
        one, two = Seg(1), Seg(2)
        end = one.link().record(b"a").at
        one.frame(0x21, b"dead")
        self.check([one, two.link(one, seq=2, end=end, claim=(1, end), reason=4).close()], lines(1, b"a"))

    def test_truncated_back_inside_a_batch(self):
        one, two = Seg(1), Seg(2)
        end = one.link().batch(b"a", b"b", b"c").at - 24
        two.link(one, seq=3, end=end, claim=(1, end), reason=4).record(b"C").close()
        self.check([one.close(), two], lines(1, b"a", b"b", b"C"))

    def test_link_that_does_not_fit_below_a_claim(self):
        ab = lines(1, b"a", b"b")
        for end, seq, at, good in ((4216, 3, "1.seg at offset 4208", ""), (4232, 3, "1.seg at offset 4096", ""),
                                   (9000, 3, "1.seg at offset 4256", ab), (4256, 2, "1.seg at offset 4096", ""),
                                   (4096, 2, "2.seg at offset 4096", "")):
            one, two = Seg(1).link().record(b"a", b"b"), Seg(2)
            self.assertEqual(one.at, 4256)
            two.link(one, seq=seq, end=end, claim=(1, 4256), reason=3)
            self.check([one, two.close()], good, 1, [at])

    def test_newest_missing(self):
        self.check([self.one().close()], "", 1, ["0000000000000002.seg at offset 0"], journal=journal_file(2))
        self.check([], "", 1, ["0000000000000001.seg at offset 0"], journal=journal_file(1))

    def test_newest_without_a_link_yet(self):
        self.check([self.one().close(), Seg(2)], self.ONE, journal=journal_file(2))

    def test_gap_above_the_newest(self):
        """The missing segment may have cut what is before it anywhere, if JOURNAL names it or a higher one: only a seal
        that names it makes certain what is left."""
        self.check([self.one().close(), Seg(2), Seg(4)], self.ONE, 1, ["3.seg at offset 0: missing"])
        self.check([self.one().close(), Seg(3)], self.ONE, 1, ["2.seg at offset 0: missing"])
        self.check([self.one().close(), Seg(3)], "", 1, ["2.seg at offset 0: missing"], journal=journal_file(3))
        self.check([self.one().seal(Seg(2)), Seg(3)], self.ONE, 1, ["2.seg at offset 0: missing"])
        self.check([Seg(2)], journal=journal_file(0))
        self.check([Seg(2)], "", 1, ["1.seg at offset 0: missing"], journal=journal_file(1))

    def test_bad_identity_above_the_newest(self):
        """JOURNAL would name it if it had been linked: so it has cut off nothing."""
        self.check([self.one().close(), Seg(2).damage(4000)], self.ONE, 1, ["corrupt", "2.seg at offset 0"])
        self.check([self.one().close(), Seg(2).damage(4000)], "", 1, ["2.seg at offset 0"], journal=journal_file(2))
        self.check([self.one().close(), Seg(2).damage(4000)], "", 1, ["2.seg at offset 0", "JOURNAL"], journal=b"")
        self.check([self.one().seal(Seg(2)), Seg(2).damage(4000)], self.ONE, 1, ["2.seg at offset 0"])

    def test_claim_of_journal_file(self):
        one, end = self.one(), self.one().at
        self.check([one], self.ONE, journal=journal_file(1, claim=(1, end)))
        lost = self.one().put(4096, bytes(8192))  # with all that claims it
        self.check([lost], "", journal=journal_file(1))
        self.check([lost], "", 1, ["1.seg at offset 4096"], journal=journal_file(1, claim=(1, end)))
        self.check([one], "", 1, ["2.seg at offset"], journal=journal_file(1, claim=(2, 4208)))

    def test_claim_in_a_segment_off_the_chain(self):
        """A cut that dropped everything, and no mark yet: the highest claim lies in a segment that nobody needs."""
        one, two = self.one(), Seg(2)
        two.link(one, seq=4, first=4, claim=(1, one.at), reason=3).record(b"x")
        self.check([one.damage(4100), two], lines(4, b"x"), journal=journal_file(2, claim=(1, one.at)))

    def test_what_is_certain_below_a_lost_segment(self):
        """1 and 3 are full and name the next one; 2's identity is damaged, and so is 3 or 4."""
        def four():
            one, two, three, four = Seg(1), Seg(2), Seg(3), Seg(4)
            one.link().record(b"a").seal(two)
            two.link(one, seq=2, claim=(1, one.at), reason=2).record(b"b").seal(three)
            three.link(two, seq=3, claim=(2, two.at), reason=2).record(b"c").seal(four)
            four.link(three, seq=4, claim=(3, three.at), reason=2).record(b"d").mark(first=1)
            return [one, two, three, four]
        self.check(four(), lines(1, b"a", b"b", b"c", b"d"))
        one, two, three, four_ = four()
        self.check([one, two.damage(99), three, four_], lines(1, b"a"), 1, ["2.seg at offset 0"])
        self.check([one, two, three.damage(4224), four_], lines(1, b"a"), 1,
                   ["2.seg at offset 0", "3.seg at offset 4208"])
        one, two, three, four_ = four()
        self.check([one, two, three, four_.damage(99)], lines(1, b"a", b"b", b"c"), 1, ["4.seg at offset 0"],
                   journal=journal_file(1, claim=(4, 4208)))

    def test_first_live_seq_behind_the_damage(self):
        seg = Seg(1).link().record(b"a", b"b", b"c", b"d").close(first=2)
        self.check([seg.damage(4208 + 3 * 24 + 16)], lines(2, b"b", b"c"), 1, ["1.seg at offset %d" % (4208 + 3 * 24)])

    def test_lost_link_with_a_torn_candidate(self):
        """2 links to an end that 1 does not reach, and nothing claims it: 2 was never made durable."""
        one, two = self.one(), Seg(2)
        two.link(one, seq=5, end=one.at + 24, reason=2).record(b"never durable")
        self.check([one, two], self.ONE, err=["torn tail: 0000000000000002.seg at offset 4096, "])
        self.check([one, two.mark()], self.ONE, 1, ["1.seg at offset %d" % one.at])

    def test_lost_link_of_a_claimed_segment(self):
        one, two, three = self.rolled()
        self.check([one, two.mark().damage(4111)], lines(1, *self.ABC), 1, ["2.seg at offset 4096"])
        self.check([one, self.rolled()[1].damage(4111)], lines(1, *self.ABC), err=["torn tail: 0000000000000002.seg"])

    def test_claim_of_a_failed_candidate_counts(self):
        one, two, three = self.one(), Seg(2), Seg(3)
        end = one.at
        three.link(two, end=4240, seq=9, claim=(1, end + 8))
        self.check([one, two, three], self.ONE, 1, ["1.seg at offset %d" % end])
        three = Seg(3).link(two, end=4240, seq=9, claim=(1, end))
        self.check([one, two, three], self.ONE, err=["torn tail: 0000000000000003.seg at offset 4096"])

    def test_recovery_skips_an_abandoned_segment(self):
        one, two, three = self.one(), Seg(2), Seg(3)
        two.link(one, seq=5, end=one.at + 24).record(b"abandoned").mark()
        three.link(one, seq=4, claim=(1, one.at), reason=3).record(b"kept").close()
        self.check([one, two, three], self.ONE + lines(4, b"kept"), journal=journal_file(3))

    def test_bad_links_are_no_candidates(self):
        one, two = self.one(), Seg(2)
        self.check([one, two.link(two, seq=4)], self.ONE, err=["torn tail: 0000000000000002.seg"])
        for other in (dict(claim=(2, 0)), dict(claim=(1, 1 << 63)), dict(end=4200), dict(end=4212), dict(seq=0)):
            two = Seg(2).link(one, **{"seq": 4, **other})
            self.check([one, two], self.ONE, err=["torn tail: 0000000000000002.seg at offset 4096"])
        self.check([Seg(1).frame(LINK, struct.pack("<12Q", 0, 1, 0, 1, 0, 0, TIME, 1, 0, 0, 0, 0))], err=["1.seg at offset 4096"])


if __name__ == "__main__":
    unittest.main()
