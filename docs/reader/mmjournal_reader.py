#!/usr/bin/env python3
"""Reads and verifies a journal directory. Written from segment/FORMAT.md alone; section numbers (§) refer to it.
Prints "seq<TAB>payload in hex" for each live record; warnings and errors go to stderr.
Exit codes: 0 intact (a torn tail is a warning), 1 damaged or corrupt, 2 usage, 3 anything else.
"""
import argparse, array, binascii, bisect, errno, fcntl, functools, mmap, os, re, stat, struct, sys

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
    return generation, journal_id, newest, (claim, offset), live, stand_in and (stand_in, base, data[136:232])

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

class Scan:
    """The valid frames of a segment up to `end`; `ends`: where each one ends, and `seqs`: the next seq there."""
    def __init__(self, seq):
        self.link = self.successor = self.newer = None  # successor: that the seal names, with its salt
        self.said, self.gaps, self.marks = [], [], []   # said, by link and marks: highest claim, first live seq, offset
        self.ends, self.seqs = array.array("Q", [PAGE]), array.array("Q", [seq])
        self.index_is_right, self.stopped = True, False
        self.base = self.next_seq = self.stop_seq = seq
        self.end = self.stop = PAGE                     # stop: of the first frame that is not valid

    def first(self):
        """What the last link or mark says is the first live seq."""
        return self.said[-1][2] if self.said else 0

    def promised(self):
        """The highest claim, with those of marks behind the end."""
        return max([said[:2] for said in self.said[-1:]] + [mark[:2] for mark in self.marks], default=NOTHING)

class Segment:
    stray = None                                # what it is, if for certain no part of the journal

    def __init__(self, path, ordinal):
        self.path, self.ordinal, self.name = path, ordinal, os.path.basename(path)
        self.fault, self.id = None, None
        self.seen = None                        # the identity, at first sight
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):              # §1: such a file is never opened
            self.stray = self.fault = "a symbolic link" if stat.S_ISLNK(mode) else (
                "a directory" if stat.S_ISDIR(mode) else "no regular file")
            return
        try:
            require(os.path.getsize(path) >= PAGE, "shorter than an identity")
            check_file(self.data[:PAGE], self.name, b"mmjseg\r\n", PAGE)
            self.id, self.named, self.salt, size, _, features, *others = IDENTITY.unpack_from(self.data, 16)
            self.recycled = features == 1
            if features > 1:
                raise ValueError("%s: unknown features %#x" % (self.name, features))
            sound = self.named and self.salt and valid_size(size) and (
                any(others) or not any(self.data[76:PAGE - 4]))
            if not sound: self.id = None
            require(self.named == ordinal, "has another ordinal, %d" % self.named)
            require(size == len(self.data) and valid_size(size), "bad size %d" % size)
            require(sound, "zero salt, or other bytes not zero")
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

    def frame(self, at, base=None):
        """(offset behind it, kind, seq) of the frame at `at`; zeros if one of §4's conditions 1 to 4 is not met, or,
        with the segment's base seq, 8. Kinds that are not known are returned, with bad sizes they are not."""
        data = self.data
        length, crc, word = HEAD.unpack_from(data, at) if at + 16 <= len(data) else (0, 0, 0)
        end, kind, seq, salt = at + length + -length % 8, word & 255, word >> 8, self.salt ^ (at << 29 | length)
        good = 16 <= length and end <= len(data) and crc == crc32c(data[at + 16:at + length] + TRAILER.pack(salt, word))
        least, most = PAYLOAD_SIZES.get(kind, (0, length))
        good = good and not any(data[at + length:end]) and least <= length - 16 <= most
        return (end, kind, seq) if good and (base is None or self.makes_sense(at, end, kind, seq, base)) else (0, 0, 0)

    def makes_sense(self, at, end, kind, seq, base):
        """§4's condition 8."""
        if kind == LINK:
            return link_fits(self.data[at + 16:end], seq, self.ordinal)
        if kind == MARK:
            *claim, _, _, flags = MARK_PAYLOAD.unpack_from(self.data, at + 16)
            good = claim == [self.ordinal, at] if flags == 1 else claim <= [self.ordinal, at] and flags == 0
            return good and claim[1] < 1 << 63
        if kind == SEAL:
            records, _, _, successor, _, index, _, _, zero = SEAL_PAYLOAD.unpack_from(self.data, at + 16)
            return successor and (records, index, zero) == (seq - base, end, 0)
        return True

    @functools.cached_property
    def whole(self):
        return self.scan()

    def scan_to(self, limit):
        """scan(limit), from the whole one if that has come across."""
        whole = self.whole
        i = bisect.bisect_left(whole.ends, limit)
        if i == len(whole.ends) or whole.ends[i] != limit:
            return self.scan(limit)
        scan = Scan(whole.base)
        scan.link, scan.ends, scan.seqs, scan.end, scan.next_seq = (
            whole.link, whole.ends, whole.seqs, limit, whole.seqs[i])
        scan.said = [said for said in whole.said if said[3] < limit]
        if i == len(whole.ends) - 1:
            scan.successor, scan.index_is_right = whole.successor, whole.index_is_right
        return scan

    def scan(self, limit=0, claimed=0, live=0, following=0):
        """Reads the valid frames, with a limit those that end there or before. It passes over damage below `claimed`
        that costs no live record (§6.4)."""
        at, seq, batch, index = PAGE, self.frame(PAGE)[2], None, {}
        scan, base = Scan(seq), seq
        while not scan.successor and not (limit and at >= limit):
            end, kind, found = self.frame(at, base)
            fits = BATCH <= kind <= BATCH_END if batch else kind != BATCH_END
            if end and not RECORD <= kind <= VOID:
                scan.newer = "%s at offset %d: a frame of unknown kind %#x" % (self.name, at, kind)
            if not end or found != seq or (kind == LINK) != (at == PAGE) or not fits or scan.newer or (
                    limit and end > limit):
                to = scan.link and at < claimed and not scan.newer and self.passes(
                    at, seq, bool(batch), base, limit, live, following)
                if not to:
                    scan.stopped = True
                    break
                scan.gaps.append((at, to))
                if seq <= live:
                    seq = live
                    batch = (to, seq) if BATCH <= self.frame(to)[1] <= BATCH_END else None
                at = to
                scan.ends.append(at)
                scan.seqs.append(seq)
                continue
            if kind == LINK:
                scan.link = LINK_PAYLOAD.unpack_from(self.data, at + 16)
                *_, first, claim, offset, time, _ = scan.link
                scan.said.append((claim, offset, first, at))
            elif kind == MARK:
                *claim, first, time, _ = MARK_PAYLOAD.unpack_from(self.data, at + 16)
                scan.said.append((*max(tuple(claim), scan.said[-1][:2]), first, at))
            elif kind <= BATCH_END:
                index.setdefault(at // PAGE, INDEX_ENTRY.pack(seq - base, at // 8, time))
                batch = (batch or (at, seq)) if kind == BATCH else None
                seq += 1
            elif kind == SEAL:
                seal = SEAL_PAYLOAD.unpack_from(self.data, at + 16)
                scan.successor = seal[3:5]
                scan.index_is_right = self.index_fits(end, seal[6], seal[7], index, scan.gaps)
            at = end
            scan.ends.append(at)
            scan.seqs.append(seq)
        scan.stopped = scan.stopped or bool(limit and at != limit)
        scan.stop, scan.stop_seq = at, seq
        scan.end, scan.next_seq = (at, seq) if limit and at == limit else batch or (at, seq)
        scan.marks = self.marks_from(scan.end) if scan.stopped else []
        return scan

    def passes(self, at, seq, in_batch, base, limit, live, following):
        """§6.4: where frames go on after damage at `at` that costs no live record; 0 if it costs one."""
        if seq <= live:
            return self.find(at + 8, limit or len(self.data), live)
        if limit and not in_batch and seq == following:
            return limit
        if limit and not in_batch and seq == base:
            return self.find(at + 8, limit, base)
        return 0

    def find(self, start, end, seq):
        """Where from `start` to `end` the first frame with that seq is; 0 if there is none. No link counts."""
        for at in range(start, end - 15, 8):
            word = HEAD.unpack_from(self.data, at)[2]
            if word >> 8 == seq and word & 255 != LINK and RECORD <= word & 255 <= VOID and self.frame(at)[0]:
                return at
        return 0

    def index_fits(self, at, count, crc, index, gaps):
        """§5: the index is right, as far as no page that damage was passed over in is concerned."""
        raw, want = self.data[at:at + 16 * count], b"".join(index.values())
        if len(raw) != 16 * count or crc32c(raw + struct.pack("<Q", self.salt)) != crc:
            return False
        if not gaps:
            return raw == want
        def known(entries):
            return [e[:2] for e in INDEX_ENTRY.iter_unpack(entries)
                    if not any(a // PAGE <= e[1] * 8 // PAGE <= b // PAGE for a, b in gaps)]
        return known(raw) == known(want)

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
        """Where from `start` to `end` there are marks (§6.3 step 2)."""
        found = (m.start() for m in MARK_HEADER.finditer(self.data, start, end))
        return [at for at in found if at % 8 == 0 and self.frame(at, 0)[0]]

    def marks_from(self, start):
        """The payloads of all marks from `start` on."""
        end = len(self.data) if self.recycled else self.used_end(start)
        return [MARK_PAYLOAD.unpack_from(self.data, at + 16) for at in self.mark_places(start, end)]

class StandIn:
    """§6.2: the segment whose link JOURNAL holds; it has no file and no records."""
    name, salt, data, fault, stray = "JOURNAL", 0, b"", None, None

    def __init__(self, journal_id, ordinal, base, payload):
        self.id, self.ordinal, self.whole = journal_id, ordinal, Scan(base)
        self.whole.link = LINK_PAYLOAD.unpack_from(payload)
        self.whole.end = self.whole.stop = PAGE + 112
        self.whole.ends = self.whole.seqs = array.array("Q")  # there are no frames to be read
        *_, first, claim, offset, _, _ = self.whole.link
        self.whole.said = [(claim, offset, first, PAGE)]

    def scan(self, *_):
        return self.whole

    def used_end(self, start):
        return start

class Journal:
    """What §6 says of a directory. found: {(what, file, offset): why}; what is left: chain, [(segment, scan)], newest
    first, and first, the first live seq; breaks: where what was promised is damaged or missing."""
    def __init__(self, path):
        self.chain, self.newest, self.first, self.claim, self.breaks, self.found = [], None, 0, NOTHING, [], {}
        self.journal_id = self.named = self.recorded = None  # named: the highest ordinal that JOURNAL names
        self.left = NOTHING                             # the ordinal of JOURNAL's claim, and its first live seq
        names = sorted(os.listdir(path))
        files = {int(n[:16]): n for n in names if re.fullmatch(r"[0-9]{16}\.seg", n) and int(n[:16])}
        if not files and "JOURNAL" not in names:
            raise ValueError("not a journal")
        self.segments = {n: Segment(os.path.join(path, name), n) for n, name in files.items()}
        self.read_journal(os.path.join(path, "JOURNAL"))
        if not files and self.named is None and any(is_foreign(n) for n in names):
            raise ValueError("not a journal")
        if self.find_strangers():
            self.good = {n: s for n, s in self.segments.items() if not s.fault}
            self.find_newest()
        self.collect()

    def read_journal(self, path):
        try:
            require(os.path.lexists(path), "missing")
            require(stat.S_ISREG(os.lstat(path).st_mode), "not a regular file")
            with open(path, "rb") as f:
                copy, wrong = read_journal(f.read(2 * PAGE + 1))
            require(copy, "; ".join(dict.fromkeys(why for _, why in wrong)))
        except Damaged as fault:
            self.found["damaged", "JOURNAL", 0] = ": %s" % fault
            return
        self.found.update({("bad copy", "JOURNAL", at): ": %s; it is left out" % why for at, why in wrong})
        _, self.journal_id, recorded, self.claim, live, stand_in = copy
        self.left, self.named = (self.claim[0], live), max(recorded, self.claim[0])
        if stand_in:                            # a file with its ordinal is not the journal's
            stand_in = StandIn(self.journal_id, *stand_in)
            self.segments = dict(sorted({**self.segments, stand_in.ordinal: stand_in}.items()))

    def find_strangers(self):
        """§6.2: which files are no part of the journal. False if they leave no journal to be read."""
        good = [s for s in self.segments.values() if not s.fault]
        ours = self.journal_id or next((s.id for s in good), None)
        strange = [s for s in good if s.id != ours]
        for seg in strange:
            seg.fault = "belongs to another journal"
        if strange and (self.named is None or self.named and len(strange) == len(good)):
            self.breaks = [(strange[0].ordinal, 0)]
            return False
        for seg in (s for s in self.segments.values() if s.id and s.fault):
            original = self.segments.get(seg.named)
            if seg.id != ours:
                seg.stray = "segment %d of another journal" % seg.named
            elif seg.named != seg.ordinal:
                copied = original and not original.fault and original.salt == seg.salt
                seg.stray = ("a copy of segment %d" if copied else "segment %d under another name") % seg.named
        return True

    def learn(self, scan):
        if scan.newer:
            raise ValueError(scan.newer)
        self.claim = max(self.claim, scan.promised())

    def find_newest(self):
        """§6.3."""
        for seg in reversed(self.good.values()):
            n, scan = seg.ordinal, seg.whole
            self.learn(scan)
            if not scan.link:
                if self.claim[0] == n:          # it cannot be a candidate, and its records are promised
                    self.first = scan.marks[-1][2] if scan.marks else 0
                    return self.refuse((n, PAGE), n)
                continue
            if self.claim[0] > n:
                return self.refuse(self.claimed(), n)
            if (n, scan.end) < self.claim:
                self.first = max(scan.first(), scan.marks[-1][2] if scan.marks else 0)
                scan = seg.scan(0, self.claim[1], self.first)
                self.learn(scan)
                if not scan.gaps or scan.end < self.claim[1] or scan.first() < self.first:
                    return self.refuse((n, scan.stop), n)
            chain, broken = self.walk_back(seg, scan, scan.first())
            if not broken:
                self.newest, self.chain = seg, chain
                return self.check_end(seg, scan)
            if broken < self.claim:
                self.first = scan.first()
                return self.refuse(broken, n)   # else it was never made durable
        if self.claim[0]:
            return self.refuse(self.claimed(), 0)
        return self.check_above()

    def claimed(self):
        return self.claim[0], PAGE if self.claim[0] in self.good else 0

    def walk_back(self, seg, scan, live):
        """§6.3 step 3: ([(segment, scan)], newest first; or where the chain breaks)."""
        chain = [(seg, scan)]
        while scan.base > live and scan.link[0]:
            (ordinal, salt, end), base = scan.link[:3], scan.base
            seg = self.good.get(ordinal)
            if not seg or seg.salt != salt or end > len(seg.data):
                return [], (ordinal, 0)
            scan = seg.scan_to(end)
            self.learn(scan)
            claimed = end if self.claim >= (ordinal, end) else self.claim[1] if self.claim[0] == ordinal else 0
            if scan.stopped and claimed:
                scan = seg.scan(end, claimed, live, base)
                self.learn(scan)
            if scan.stopped:
                return [], (ordinal, scan.stop)
            if scan.next_seq != base:
                return [], (ordinal, PAGE)
            chain.append((seg, scan))
        return chain, None

    def check_end(self, newest, scan):
        """§6.3, what else is corrupt: rows 7 to 11."""
        if self.check_above(newest, scan):
            if not self.chain[-1][1].base <= scan.first() <= scan.next_seq:
                self.first = scan.first()
                self.refuse((newest.ordinal, scan.said[-1][3]), newest.ordinal)
            else:
                self.first = scan.first()

    def check_above(self, newest=None, scan=None):
        top = newest.ordinal if newest else 0
        successor, salt = scan and scan.successor or NOTHING
        if successor and (successor not in self.good or self.good[successor].salt != salt):
            return self.refuse((successor, 0), top)
        above = [n for n, s in self.segments.items()
                 if n > top and not (s.stray and self.named is not None and n > self.named)]
        lost = next((n for n in above if self.segments[n].fault), 0)
        if not lost and newest:
            lost = next((a + 1 for a, b in zip([top] + above, above) if b != a + 1), 0)
        if lost and newest and not self.may_be_linked(top):  # never linked: it has cut off nothing
            self.breaks, self.newest, self.first = [(lost, 0)], None, scan.first()
            return False
        if not lost and self.named and self.named > top and self.named not in self.segments:
            lost = self.named
        if lost:
            return self.refuse((lost, 0), top)
        return True

    def may_be_linked(self, top):
        """The highest segment above `top` that is missing or bad, and may have been linked to anywhere; 0: none is."""
        most, lost, last = self.named, 0, top
        if most is None:
            most = 1 << 64
        elif most > top and most not in self.good:
            return most
        for n, seg in self.segments.items():
            if n <= top or seg.stray and n > most:
                continue
            if top and min(n - 1, most) > last:
                lost = min(n - 1, most)
            if seg.fault and n <= most:
                lost = n
            last = n
        return lost

    def refuse(self, broken, top):
        """§6.5, what is left of a corrupt journal: below the damage, and below every break further back."""
        self.newest, self.chain, self.breaks = None, [], [broken]
        lost = self.may_be_linked(top)
        if lost > broken[0]:
            broken = lost, 0
            self.breaks.append(broken)
        while broken:
            seg, scan = self.below(*broken)
            if not seg:
                break
            self.first = max([self.first, scan.first()] + [self.left[1]] * (seg.ordinal <= self.left[0]))
            self.chain, broken = self.walk_back(seg, scan, self.first)
            if broken and broken not in self.breaks:
                self.breaks.append(broken)
        return False

    def below(self, n, at):
        """The segment that begins what is left below a break: the damaged one, or one whose seal names it."""
        seg = self.good.get(n)
        if seg and at > PAGE and not isinstance(seg, StandIn):
            scan = seg.scan_to(at)
            return seg, seg.scan(at, at, self.first) if scan.stopped else scan
        for below in reversed([s for o, s in self.good.items() if o < n and not isinstance(s, StandIn)]):
            scan = below.whole
            if scan.stopped and scan.stop_seq <= self.first and self.claim[0] > below.ordinal:
                scan = below.scan(0, len(below.data), self.first)
            if scan.successor and scan.successor[0] == n and (not at or scan.successor[1] == seg.salt):
                return below, scan
        return None, None

    def collect(self):
        """Says what was found."""
        for n, at in self.breaks:
            seg, why = self.segments.get(n), "damaged or lost, below the claim %d:%d" % self.claim
            if not at:
                why = "missing" if not seg else seg.fault or "another segment than the one that is named"
            elif seg and seg.whole.said and at == seg.whole.said[-1][3] and seg.whole.first() == self.first:
                why = "first live seq %d is not there, or %s" % (self.first, why)
            self.found["corrupt", NAME % n, at] = ": " + why
        for seg, scan in self.chain:
            for at, to in scan.gaps:
                self.found["damaged", seg.name, at] = ", %d bytes; no live record is lost" % (to - at)
            if scan.successor and not scan.index_is_right:
                what = "damaged" if self.claim[0] > seg.ordinal else "torn index"
                self.found[what, seg.name, scan.end] = ": the index does not agree with the frames"
        for n, seg in self.segments.items():
            if seg.stray and (n, 0) not in self.breaks:
                self.found["stray", seg.name, 0] = ": %s, and no part of this journal" % seg.stray
            elif seg.fault and not seg.stray and not self.breaks:
                self.found["damaged", seg.name, 0] = ": %s; no live record is lost" % seg.fault
        if self.breaks:
            return
        tails = [(seg, scan.end) for seg, scan in self.chain[:1] if not scan.successor]
        tails += [(s, PAGE) for n, s in self.segments.items() if n > (self.newest.ordinal if self.newest else 0)]
        for seg, end in tails:
            if not seg.fault and seg.used_end(end) > end:
                self.found["torn tail", seg.name, end] = ", %d bytes" % (seg.used_end(end) - end)

    def verdict(self):
        return "corrupt" if self.breaks else "damaged" if self.damage() else "intact"

    def damage(self):
        return sorted((where, why) for where, why in self.found.items() if where[0] in ("corrupt", "damaged"))

    def records(self):
        """(seq, payload) of each live record."""
        for seg, scan in reversed(self.chain):
            gaps = dict(scan.gaps)
            for at in scan.ends[:bisect.bisect_left(scan.ends, scan.end)]:
                if at in gaps:
                    continue
                length, _, word = HEAD.unpack_from(seg.data, at)
                if word & 255 <= BATCH_END and word >> 8 >= self.first:
                    yield word >> 8, seg.data[at + 16:at + length]

def is_foreign(name):
    """§1: a name that is neither the journal's nor ignored."""
    own = re.fullmatch(r"(JOURNAL|LOCK|[0-9]{16}\.seg)(\.tmp)?", name) and not name.startswith("0" * 16)
    return not (own or name.startswith(".") or name == "lost+found")

def read(path, scans=20):
    """§1: a writer may change the files meanwhile, so apparent damage counts only if the next scan finds the same."""
    before = None
    for _ in range(scans + 1):
        journal = error = None
        try:
            journal = Journal(path)
            found = journal.damage()
        except (OSError, ValueError, MemoryError) as e:
            error = e
            found = [str(e)]
        if not found or found == before:
            if error: raise error
            return journal
        before = found
    raise error or ValueError("the journal changed during every scan; the last one found %s" % (found,))

def main():
    parser = argparse.ArgumentParser(description="Reads and verifies a journal (see segment/FORMAT.md).")
    parser.add_argument("--quiet", action="store_true", help="verify only")
    parser.add_argument("directory")
    args = parser.parse_args()
    try:
        journal = read(args.directory)
        for seq, payload in () if args.quiet else journal.records():
            sys.stdout.buffer.write(b"%d\t%s\n" % (seq, binascii.hexlify(payload)))
        sys.stdout.buffer.flush()
    except (OSError, ValueError, MemoryError) as error:
        sys.exit(print("%s: %s" % (args.directory, error), file=sys.stderr) or 3)
    for where, why in sorted(journal.found.items()):
        print("%s: %s at offset %d" % where + why, file=sys.stderr)
    sys.exit(journal.verdict() != "intact")

if __name__ == "__main__": main()
