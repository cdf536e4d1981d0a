#!/usr/bin/env python3
"""Reads and verifies a journal directory. Written from segment/FORMAT.md alone; section numbers (§) refer to it.
Prints "seq<TAB>payload in hex" for each live record; warnings and errors go to stderr.
Exit codes: 0 intact (a torn tail is a warning), 1 damaged or corrupt, 2 usage, 3 anything else.
"""
import argparse, array, binascii, bisect, errno, fcntl, functools, mmap, os, re, struct, sys

PAGE, CHUNK, NAME, NOTHING = 4096, 1 << 20, "%016d.seg", (0, 0)  # NOTHING: a position before all others
RECORD, BATCH, BATCH_END, MARK, LINK, SEAL, VOID = range(1, 8)
PAYLOAD_SIZES = {MARK: (40, 40), LINK: (96, 3496), SEAL: (64, 64)}  # least and most; links of newer software are longer
HEAD, TRAILER, INDEX_ENTRY = struct.Struct("<IIQ"), struct.Struct("<QQ"), struct.Struct("<IIq")
# From 16 on: journal id, generation, created, features (3), 0, newest, claim (2), first live, segment size,
# epoch (2), stand-in's ordinal and base seq. From 16 on: journal id, ordinal, salt, size, created, features (3).
JOURNAL_COPY, IDENTITY = struct.Struct("<16sQqIIIIQQQQQQQQQ"), struct.Struct("<16sQQQqIII")
LINK_PAYLOAD = struct.Struct("<QQQQQQqQ32x")    # predecessor, its salt, its end, first live, claim (2), time, reason
MARK_PAYLOAD = struct.Struct("<QQQqQ")          # claim (2), first live seq, time, flags
SEAL_PAYLOAD = struct.Struct("<QqqQQQIIQ")      # records, oldest, newest, successor, its salt, index at, n, crc, 0
MARK_HEADER = re.compile(rb"\x38\0\0\0(?=....\x04)", re.DOTALL)  # cannot overlap itself
CRC_ROWS = [[functools.reduce(lambda v, _: v >> 1 ^ 0x82F63B78 * (v & 1), range(32), byte << shift)
             for byte in range(256)] for shift in (0, 8, 16, 24)]  # what 4 zero bytes make of each byte of the register

class Damaged(Exception):
    """A file as a whole is not good. (A ValueError: not a journal, or one that this reader must not interpret.)"""

def require(condition, fault):
    if not condition: raise Damaged(fault)

def crc32c(data):
    """Of 4 bytes or more. With the initial value XORed into the first 4, zeros in front change nothing."""
    (r0, r1, r2, r3), crc = CRC_ROWS, 0
    for word, in struct.iter_unpack("<I", bytes(-len(data) % 4) + bytes(b ^ 255 for b in data[:4]) + data[4:]):
        crc ^= word
        crc = r0[crc & 255] ^ r1[crc >> 8 & 255] ^ r2[crc >> 16 & 255] ^ r3[crc >> 24]
    return crc ^ 0xFFFFFFFF

def check_file(data, name, magic, size):
    """What JOURNAL and an identity have in common: a start that means the same in all versions, a crc at the end."""
    require(len(data) >= 16, "too short")
    found, version, crc = struct.unpack_from("<8sII", data)
    require(found == magic, "wrong magic")
    require(crc32c(data[:12]) == crc, "bad checksum at 12")
    if version != 1:
        raise ValueError("%s: version %d, this reader knows 1" % (name, version))
    require(len(data) == size and data[-4:] == struct.pack("<I", crc32c(data[:-4])), "wrong size or checksum")

def valid_size(size):
    return 2 * PAGE <= size <= 16 << 30 and size % PAGE == 0

def link_fits(payload, seq, ordinal):
    """§4's condition 8 for a link."""
    prev, salt, kept, _, claim, offset, _, _ = LINK_PAYLOAD.unpack_from(payload)
    hangs = prev < ordinal and kept >= PAGE + 112 and kept % 8 == 0 if prev else salt == kept == 0
    return hangs and seq and claim < ordinal and offset < 1 << 63

def read_copy(data):
    """One copy in JOURNAL: (generation, journal id, newest, claim (2), first live, stand-in or None)."""
    check_file(data, "JOURNAL", b"mmjrnl\r\n", PAGE)
    journal_id, generation, _, newer, *others, zero, newest, claim, offset, live, size, _, _, stand_in, base = (
        JOURNAL_COPY.unpack_from(data, 16))
    if newer:
        raise ValueError("JOURNAL: unknown features %#x" % newer)
    require(any(others) or not (zero or any(data[232:PAGE - 4])), "not zero where it must be")
    require(offset < 1 << 63, "a claim beyond all files")
    require(size == 0 or valid_size(size), "bad segment size %d" % size)
    require(base < 1 << 56 and link_fits(data[136:232], base, stand_in) if stand_in else not any(data[128:232]),
            "an impossible stand-in")
    return generation, journal_id, newest, (claim, offset), live, stand_in and StandIn(stand_in, base, data[136:232])

def read_journal(data):
    """§2: the copy that counts, or None; what is wrong: [(offset, why)]."""
    copies, wrong = [], []
    for at in (0, PAGE):
        try:
            copies.append(read_copy(data[at:at + PAGE]))
        except Damaged as fault:
            wrong.append((at, str(fault)))
    if len({copy[1] for copy in copies}) > 1:
        return None, [(0, "copies of two journals")]
    if len(data) > 2 * PAGE:
        wrong.append((2 * PAGE, "too long"))
    return max(copies, key=lambda copy: copy[0], default=None), wrong

class Segment:
    def __init__(self, path, ordinal):
        self.path, self.ordinal, self.name = path, ordinal, os.path.basename(path)
        self.link = self.successor = self.newer = self.fault = None  # successor: that a seal names, with its salt
        self.seen = None                        # the identity, at first sight
        self.base, self.end, self.said = 0, PAGE, []  # said, by link and marks: highest claim, first live seq, offset
        try:
            require(os.path.getsize(path) >= PAGE, "shorter than an identity")
            check_file(self.data[:PAGE], self.name, b"mmjseg\r\n", PAGE)
            self.id, named, self.salt, size, _, features, *others = IDENTITY.unpack_from(self.data, 16)
            self.recycled = features == 1
            if features > 1:
                raise ValueError("%s: unknown features %#x" % (self.name, features))
            require(named == ordinal, "has another ordinal, %d" % named)
            require(size == len(self.data) and valid_size(size), "bad size %d" % size)
            require(self.salt and (any(others) or not any(self.data[76:PAGE - 4])), "zero salt, or other bytes not zero")
            self.scan()
        except Damaged as damaged:
            self.fault = str(damaged)

    @property
    @functools.lru_cache(64)                    # few at a time: each one holds a file descriptor
    def data(self):
        with open(self.path, "rb") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)  # while it is mapped, nobody writes over it (§3.1)
            except OSError as error:                           # without locks, nobody ever does
                if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL): raise
            data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self.seen = self.seen or data[:PAGE]
        if data[:PAGE] != self.seen:
            raise ValueError("%s: is another segment by now; a writer is at work" % self.name)
        return data

    def frame(self, at):
        """(offset behind it, kind, seq) of the frame at `at`; zeros if one of §4's conditions 1 to 4, 8 is not met."""
        data = self.data
        length, crc, word = HEAD.unpack_from(data, at) if at + 16 <= len(data) else (0, 0, 0)
        end, kind, seq, salt = at + length + -length % 8, word & 255, word >> 8, self.salt ^ (at << 29 | length)
        good = 16 <= length and end <= len(data) and crc == crc32c(data[at + 16:at + length] + TRAILER.pack(salt, word))
        least, most = PAYLOAD_SIZES.get(kind, (0, length))
        good = good and not any(data[at + length:end]) and least <= length - 16 <= most
        return (end, kind, seq) if good and self.makes_sense(at, end, kind, seq) else (0, 0, 0)

    def makes_sense(self, at, end, kind, seq):
        """§4's condition 8."""
        if kind == LINK:
            return link_fits(self.data[at + 16:end], seq, self.ordinal)
        if kind == MARK:
            *claim, _, _, flags = MARK_PAYLOAD.unpack_from(self.data, at + 16)
            good = claim == [self.ordinal, at] if flags == 1 else claim <= [self.ordinal, at] and flags == 0
            return good and claim[1] < 1 << 63
        if kind == SEAL:
            records, _, _, successor, _, index, _, _, zero = SEAL_PAYLOAD.unpack_from(self.data, at + 16)
            return successor and (records, index, zero) == (seq - self.base, end, 0)
        return True

    def scan(self):
        """Reads the valid frames: where each one ends, and what the next seq is there."""
        at, seq, batch, index = PAGE, self.frame(PAGE)[2], None, {}
        self.base, self.ends, self.seqs = seq, array.array("Q", [at]), array.array("Q", [seq])
        while not self.successor:
            end, kind, found = self.frame(at)
            fits = BATCH <= kind <= BATCH_END if batch else kind != BATCH_END
            if end and not RECORD <= kind <= VOID:
                self.newer = "%s at offset %d: a frame of unknown kind %#x" % (self.name, at, kind)
            if not end or found != seq or (kind == LINK) != (at == PAGE) or not fits or self.newer:
                break
            if kind == LINK:
                self.link = LINK_PAYLOAD.unpack_from(self.data, at + 16)
                *_, first, claim, offset, time, _ = self.link
                self.said.append((claim, offset, first, at))
            elif kind == MARK:
                *claim, first, time, _ = MARK_PAYLOAD.unpack_from(self.data, at + 16)
                self.said.append((*max(tuple(claim), self.said[-1][:2]), first, at))
            elif kind <= BATCH_END:
                index.setdefault(at // PAGE, INDEX_ENTRY.pack(seq - self.base, at // 8, time))
                batch = (batch or (at, seq)) if kind == BATCH else None
                seq += 1
            elif kind == SEAL:
                seal, want = SEAL_PAYLOAD.unpack_from(self.data, at + 16), b"".join(index.values())
                self.index_is_right = self.data[end:end + len(want)] == want and seal[6:8] == (
                    len(index), crc32c(want + struct.pack("<Q", self.salt)))
                self.successor = seal[3:5]
            at = end
            self.ends.append(at)
            self.seqs.append(seq)
        self.end, self.next_seq = batch or (at, seq)  # without a batch that is not complete

    def break_before(self, end, seq, refuse):
        """Where the valid frames fail to reach exactly to `end` with `seq` as the next seq; None if they do."""
        i = bisect.bisect_left(self.ends, end)
        if self.newer and i == len(self.ends) and refuse:
            raise ValueError(self.newer)
        if i == len(self.ends) or self.ends[i] != end:
            return self.ends[i - 1]
        return None if self.seqs[i] == seq else PAGE

    def used_end(self, start):
        """The offset behind the last byte from `start` on that is not zero, or follows (§3.1); `start` if all are."""
        if self.recycled:
            return self.followed_end(start)
        chunks = ((at, self.data[at:at + CHUNK].rstrip(b"\0")) for at in reversed(range(start, len(self.data), CHUNK)))
        return next((at + len(used) for at, used in chunks if used), start)

    def followed_end(self, start):
        """§3.1: the offset behind what follows `start` in a recycled segment; `start` if nothing does."""
        page = self.data[start:(start // PAGE + 1) * PAGE].rstrip(b"\0")
        return max([start + len(page)] + [at + 56 for at in self.mark_places(start, len(self.data))])

    def mark_places(self, start, end):
        """Where from `start` to `end` there are marks (§6 step 2)."""
        found = (m.start() for m in MARK_HEADER.finditer(self.data, start, end))
        return [at for at in found if at % 8 == 0 and self.frame(at)[0]]

    def marks_from(self, start):
        """The payloads of all marks from `start` on."""
        end = len(self.data) if self.recycled else self.used_end(start)
        return [MARK_PAYLOAD.unpack_from(self.data, at + 16) for at in self.mark_places(start, end)]

class StandIn:
    """§6: the segment whose link JOURNAL holds; it has no file and no records."""
    name, salt, data, end, ends = "JOURNAL", 0, b"", PAGE + 112, ()
    successor = newer = fault = None

    def __init__(self, ordinal, base, payload):
        self.ordinal, self.base, self.next_seq, self.link = ordinal, base, base, LINK_PAYLOAD.unpack_from(payload)
        *_, first, claim, offset, _, _ = self.link
        self.said = [(claim, offset, first, PAGE)]

    def marks_from(self, start):
        return []

    def used_end(self, start):
        return start

class Journal:
    def __init__(self, path):
        self.chain, self.claim, self.recorded, self.left, self.found = [], NOTHING, 0, NOTHING, {}  # found: (what, file, offset): why; left:
        # claimed segment and first live seq in JOURNAL
        files = {n: os.path.join(path, n) for n in os.listdir(path) if os.path.isfile(os.path.join(path, n))}
        names = {int(n[:16]): n for n in sorted(files) if re.fullmatch(r"[0-9]{16}\.seg", n) and int(n[:16])}
        if not names and "JOURNAL" not in files:
            raise ValueError("not a journal")
        self.segments = {n: Segment(files[name], n) for n, name in names.items()}
        journal_id = next((s.id for s in self.segments.values() if not s.fault), None)
        try:
            require("JOURNAL" in files, "missing")
            with open(files["JOURNAL"], "rb") as f:
                copy, wrong = read_journal(f.read(2 * PAGE + 1))
            require(copy, "; ".join(dict.fromkeys(why for _, why in wrong)))
            self.found.update({("bad copy", "JOURNAL", at): ": %s; it is left out" % why for at, why in wrong})
            _, journal_id, self.recorded, self.claim, live, stand_in = copy
            self.left = self.claim[0], live
            if stand_in:                        # a file with its ordinal is not the journal's
                stand_in.id = journal_id
                self.segments = dict(sorted({**self.segments, stand_in.ordinal: stand_in}.items()))
        except Damaged as fault:
            self.found["corrupt", "JOURNAL", 0] = ": %s" % fault
        for seg in self.segments.values():
            seg.fault = seg.fault or (None if seg.id == journal_id else "belongs to another journal")
        self.good = {n: s for n, s in self.segments.items() if not s.fault}
        self.check_end(*self.find_newest())
        for seg in (s for s, end in self.chain if s.successor and s.end == end and not s.index_is_right):
            what = "corrupt" if self.claim[0] > seg.ordinal else "torn index"
            self.found[what, seg.name, seg.end] = ": the index does not agree with the frames"

    def walk_back(self, seg, first, broken):
        """§6 step 3: ([(segment, end)] newest first, claim, break). If broken: what is certain, below all breaks."""
        chain, claim, end = [], NOTHING, seg.end
        while seg:
            chain.append((seg, end))
            ordinal, salt, end = seg.link[:3]
            if seg.base <= first or not ordinal:
                break
            prev, at = self.good.get(ordinal), 0
            if prev and prev.salt == salt and end <= len(prev.data):
                at = prev.break_before(end, seg.base, not broken)
                claim = max([claim] + [said[:2] for said in prev.said if said[3] < end])
            if at is not None:
                chain, broken = [], broken or (ordinal, at)
                if not (at and prev.link):      # then only a seal can say what is below
                    prev = next((s for s in reversed(self.good.values()) if s.link and s.ordinal < ordinal), None)
                    prev, at = (prev, prev.end) if prev and prev.successor == (ordinal, salt) else (None, 0)
                end = min(at, prev.end) if prev else 0
            seg = prev
        return chain, claim, broken

    def find_newest(self):
        """§6 steps 0 to 4; sets chain, first and claim. Returns the newest, and where its chain breaks."""
        behind = []                             # the highest marks that are not among the candidate's valid frames
        for seg in reversed(self.good.values()):
            marks = [] if seg.successor else seg.marks_from(seg.end)
            self.claim, behind = max([self.claim] + [said[:2] for said in seg.said[-1:] + marks]), behind or marks
            if seg.newer:
                raise ValueError(seg.newer)
            if not seg.link: continue
            broken = (seg.ordinal, seg.end) if (seg.ordinal, seg.end) < self.claim else None
            self.first = (seg.said + (behind if broken else []))[-1][2]
            chain, claim, broken = self.walk_back(seg, self.first, broken)
            if not broken or broken < max(self.claim, claim):  # else it was never made durable
                self.chain, self.claim = chain, max(self.claim, claim)
                return seg, broken
        return None, None

    def check_end(self, newest, broken):
        """The rest of §6: what else is corrupt, and what the end looks like."""
        top, end = (newest.ordinal, newest.end) if newest else NOTHING
        successor, salt = newest and newest.successor or NOTHING
        above = [n for n in self.segments if n > top]
        lost = {n: "missing" for a, b in zip([top] + above, above)
                if newest and a + 1 < b for n in (a + 1, b - 1)}
        lost.update({n: "missing" for n in (max(self.recorded, top), successor) if n and n not in self.segments})
        lost.update({n: s.fault or "another than the seal names" for n, s in self.segments.items()
                     if s.fault or n == successor and s.salt != salt})
        self.found.update({("corrupt", NAME % n, 0): ": " + why for n, why in lost.items()})
        if self.claim[0] and (top, end) < self.claim:
            broken = self.claim[0], 0 if self.claim[0] not in self.good else end if self.claim[0] == top else PAGE
        if broken:
            self.found["corrupt", NAME % broken[0], broken[1]] = ": damaged or lost, below the claim %d:%d" % self.claim
        elif newest and not self.chain[-1][0].base <= self.first <= newest.next_seq:
            self.found["corrupt", newest.name, newest.said[-1][3]] = ": first live seq %d is not there" % self.first
        if any(n > top and n != successor for n in [*lost, *(broken or ())[:1]]):
            self.chain = []                     # what lies there may have cut off any part of what is below
        if (broken or lost) and self.chain and self.chain[0][0].ordinal <= self.left[0]:
            self.first = max(self.first, self.left[1])
        tails = [(newest, end)] * bool(newest and not successor) + [(self.segments[n], PAGE) for n in above]
        for seg, end in () if broken else tails:
            if not seg.fault and seg.used_end(end) > end:
                self.found["torn tail", seg.name, end] = ", %d bytes" % (seg.used_end(end) - end)

def main():
    parser = argparse.ArgumentParser(description="Reads and verifies a journal (see segment/FORMAT.md).")
    parser.add_argument("--quiet", action="store_true", help="verify only")
    parser.add_argument("directory")
    args = parser.parse_args()
    try:
        journal = Journal(args.directory)
        for seg, end in reversed([] if args.quiet else journal.chain):
            for at in seg.ends[:bisect.bisect_left(seg.ends, end)]:
                length, _, word = HEAD.unpack_from(seg.data, at)
                if word & 255 <= BATCH_END and word >> 8 >= journal.first:
                    sys.stdout.buffer.write(b"%d\t%s\n" % (word >> 8, binascii.hexlify(seg.data[at + 16:at + length])))
        sys.stdout.buffer.flush()
    except (OSError, ValueError, MemoryError) as error:
        sys.exit(print("%s: %s" % (args.directory, error), file=sys.stderr) or 3)
    for where, why in sorted(journal.found.items()):
        print("%s: %s at offset %d" % where + why, file=sys.stderr)
    sys.exit(any(what == "corrupt" for what, _, _ in journal.found))

if __name__ == "__main__": main()
