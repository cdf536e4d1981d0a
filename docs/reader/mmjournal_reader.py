#!/usr/bin/env python3
"""Reads and verifies a journal directory. Written from segment/FORMAT.md alone; section numbers (§) refer to it.
Prints "seq<TAB>payload in hex" for each live record; warnings and errors go to stderr.
Exit codes: 0 intact (a torn tail is a warning), 1 corrupt, 2 usage, 3 anything else.
"""
import argparse, array, binascii, bisect, functools, mmap, os, re, struct, sys

PAGE, CHUNK, NOTHING = 4096, 1 << 20, (0, 0)    # NOTHING: a position before all others
RECORD, BATCH, BATCH_END, MARK, LINK, SEAL, VOID = range(1, 8)
PAYLOAD_SIZE = {MARK: 40, LINK: 64, SEAL: 64}
HEAD, CRC_TRAILER, INDEX_ENTRY = struct.Struct("<IIQ"), struct.Struct("<QQ"), struct.Struct("<IIq")
IDENTITY = struct.Struct("<16sQQQqI")           # from 16 on: journal id, ordinal, salt, size, created, features
JOURNAL = struct.Struct("<16sQqQQ")             # from 16 on: journal id, newest, created, claim (2)
LINK_PAYLOAD = struct.Struct("<QQQQQQqQ")       # predecessor, its salt, its end, first live, claim (2), time, reason
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
    if version != 1: raise ValueError("%s: version %d, this reader knows 1" % (name, version))
    require(len(data) == size and data[-4:] == struct.pack("<I", crc32c(data[:-4])), "wrong size or checksum")

class Segment:
    def __init__(self, path, ordinal):
        self.path, self.ordinal, self.name = path, ordinal, os.path.basename(path)
        self.link, self.fault, self.scanned = None, None, 0  # no valid link, no fault of the identity
        try:
            require(os.path.isfile(path) and os.path.getsize(path) >= PAGE, "not a file, or shorter than an identity")
            check_file(self.data[:PAGE], self.name, b"mmjseg\r\n", PAGE)
            self.id, named, self.salt, size, _, features = IDENTITY.unpack_from(self.data, 16)
            if features: raise ValueError("%s: unknown features %#x" % (self.name, features))
            require(named == ordinal, "has another ordinal, %d" % named)
            require(size == len(self.data), "has another size, %d" % size)
            require(2 * PAGE <= size <= 16 << 30 and size % PAGE == 0, "size %d is out of range" % size)
            require(self.salt and not any(self.data[68:PAGE - 4]), "salt is zero, or what must be zero is not")
        except Damaged as damaged:
            return setattr(self, "fault", str(damaged))
        _, kind, self.base = self.frame(PAGE)
        link = LINK_PAYLOAD.unpack_from(self.data, PAGE + 16)
        if kind == LINK and self.base and max(link[0], link[4]) < ordinal and link[5] < 1 << 63:
            if link[2] >= PAGE + 80 and link[2] % 8 == 0 if link[0] else link[1:3] == NOTHING:
                self.link = link
    @property
    @functools.lru_cache(64)                    # few at a time: each one holds a file descriptor
    def data(self):
        with open(self.path, "rb") as f:
            return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    def frame(self, at):
        """(offset behind it, kind, seq) of the frame at `at`; zeros if one of §4's conditions 1 to 5, 8 is not met."""
        data = self.data
        length, crc, word = HEAD.unpack_from(data, at) if at + 16 <= len(data) else (0, 0, 0)
        end, kind, trailer = at + length + -length % 8, word & 255, (self.salt ^ (at << 29 | length), word)
        good = 16 <= length and end <= len(data)
        good = good and crc == crc32c(data[at + 16:at + length] + CRC_TRAILER.pack(*trailer))
        if good and not RECORD <= kind <= VOID:
            raise ValueError("%s at offset %d: frame of unknown kind %#x" % (self.name, at, kind))
        good = good and not any(data[at + length:end]) and length - 16 == PAYLOAD_SIZE.get(kind, length - 16)
        if good and kind == MARK:
            *claim, _, _, flags = MARK_PAYLOAD.unpack_from(data, at + 16)
            own, claim = (self.ordinal, at), tuple(claim)
            good = claim <= own if flags == 0 else flags == 1 and claim == own
        if good and kind == SEAL:
            seal = SEAL_PAYLOAD.unpack_from(data, at + 16)
            good = seal[0] == (word >> 8) - self.base and seal[3] and seal[5] == end and seal[8] == 0
        return (end, kind, word >> 8) if good else (0, 0, 0)
    def scan(self, limit):
        """Reads the valid frames that start before `limit`: where each one ends, and what the next seq is there."""
        if limit <= self.scanned: return
        at, seq, batch, index, self.time, self.scanned = PAGE, self.base, None, {}, self.link[6], limit
        self.ends, self.seqs, self.sealed = array.array("Q", [at]), array.array("Q", [seq]), False
        self.said = [(at, self.link[4:6], self.link[3])]  # by link and marks: offset, highest claim, first live seq
        while at < limit and not self.sealed:
            end, kind, found = self.frame(at)
            fits = BATCH <= kind <= BATCH_END if batch else kind != BATCH_END
            if not end or found != seq or (kind == LINK) != (at == PAGE) or not fits: break
            if kind == MARK:
                *claim, first, self.time, _ = MARK_PAYLOAD.unpack_from(self.data, at + 16)
                self.said.append((at, max(tuple(claim), self.said[-1][1]), first))
            elif kind <= BATCH_END:
                index.setdefault(at // PAGE, INDEX_ENTRY.pack(seq - self.base, at // 8, self.time))
                batch = (batch or at) if kind == BATCH else None
                seq += 1
            at, self.sealed = end, kind == SEAL
            self.ends.append(at)
            self.seqs.append(seq)
        self.index = b"".join(index.values())
        self.end, self.safe_end = at, batch or at  # safe_end: without a batch that is not complete
    def said_before(self, end):
        return self.said[bisect.bisect_left(self.said, (end,)) - 1]
    def break_before(self, end, seq):
        """Where the valid frames fail to reach exactly to `end` with `seq` as the next seq; None if they do."""
        self.scan(end)
        i = bisect.bisect_left(self.ends, end)
        if i == len(self.ends) or self.ends[i] != end: return self.ends[i - 1]
        return None if self.seqs[i] == seq else PAGE
    def used_end(self, start):
        """The offset behind the last byte from `start` on that is not zero; `start` if all are."""
        for at in reversed(range(start, len(self.data), CHUNK)):
            used = self.data[at:at + CHUNK].rstrip(b"\0")
            if used: return at + len(used)
        return start
    def marks_behind(self, start):
        """The payloads of all that look like marks from `start` on (§6 step 2)."""
        found = (m.start() for m in MARK_HEADER.finditer(self.data, start, self.used_end(start)))
        return [MARK_PAYLOAD.unpack_from(self.data, at + 16) for at in found if at % 8 == 0 and self.frame(at)[0]]
    def seal(self):
        return SEAL_PAYLOAD.unpack_from(self.data, self.ends[-2] + 16)
    def bad_index(self):
        """Whether the index behind the seal does not agree with the frames, or the seal not with the index."""
        want = self.index, len(self.index) // 16, crc32c(self.index + struct.pack("<Q", self.salt))
        return (self.data[self.end:self.end + len(self.index)], *self.seal()[6:8]) != want

class Journal:
    def __init__(self, path):
        self.chain, self.first, self.claim, self.damage, self.warnings, data = [], 1, NOTHING, [], [], b""
        names = {int(n[:16]): n for n in os.listdir(path) if re.fullmatch(r"[0-9]{16}\.seg", n) and int(n[:16])}
        try:
            with open(os.path.join(path, "JOURNAL"), "rb") as f:
                data = f.read(PAGE)
            check_file(data, "JOURNAL", b"mmjrnl\r\n", 128)
            require(not any(data[64:124]), "what must be zero is not")
            self.id, self.newest, _, *claim = JOURNAL.unpack_from(data, 16)
            self.claim = tuple(claim)
        except (Damaged, FileNotFoundError) as fault:
            if not names and not data: raise ValueError("not a journal")
            self.damage, self.id, self.newest = ["corrupt: JOURNAL at offset 0: %s" % fault], None, 0
        self.segments = {n: Segment(os.path.join(path, names[n]), n) for n in sorted(names)}
        for seg in self.segments.values():
            if seg.fault: self.corrupt(seg.ordinal, 0, seg.fault)
            elif seg.id != (self.id or seg.id): return self.corrupt(seg.ordinal, 0, "belongs to another journal")
            else: self.id = seg.id
        if self.find_newest(): self.check_end()
        for seg, end in (c for c in self.chain if c[0].sealed and c[0].end == c[1] and c[0].bad_index()):
            if self.claim[0] > seg.ordinal:
                self.corrupt(seg.ordinal, end, "the index does not agree with the frames")
            else:
                self.warnings.append("torn index: %s at offset %d" % (seg.name, end))
    def corrupt(self, ordinal, at, what):
        self.damage.append("corrupt: %016d.seg at offset %d: %s" % (ordinal, at, what))
    def walk_back(self, seg, end, first):
        """§6 step 3: ([(segment, end)] newest first, claim, break). If broken: what lies before all breaks."""
        chain, claim, broken = [], NOTHING, None
        while seg:
            chain.append((seg, end))
            claim = max(claim, seg.said_before(end)[1])
            ordinal, salt, end = seg.link[:3]
            if seg.base <= first or not ordinal: break
            prev, at = self.segments.get(ordinal), 0
            if prev and not prev.fault and prev.salt == salt:
                at = prev.break_before(end, seg.base) if prev.link else PAGE
            if at is not None:
                chain, broken = [], broken or (ordinal, at)
                prev, end = (prev, min(at, prev.safe_end)) if at > PAGE else (None, 0)
            seg = prev
        return chain, claim, broken
    def keep_below(self, ordinal, first):
        """Keeps what is below a segment whose link is not there: certain only if a seal names that segment."""
        self.chain, self.first = [], first
        for seg in (s for n, s in self.segments.items() if n < ordinal and s.link):
            seg.scan(len(seg.data))
            if seg.sealed and seg.seal()[3] == ordinal:
                self.first = max(first, seg.said_before(seg.end)[2])
                self.chain = self.walk_back(seg, seg.end, self.first)[0]
    def find_newest(self):
        """§6 steps 1 to 4; sets chain, first and claim. False if something below a claim is damaged."""
        for seg in reversed([s for s in self.segments.values() if not s.fault]):
            if not seg.link:
                self.claim = max([self.claim] + [mark[:2] for mark in seg.marks_behind(PAGE)])
                if self.claim[0] == seg.ordinal: break
                continue
            seg.scan(len(seg.data))
            top, (_, claim, first) = (seg.ordinal, seg.safe_end), seg.said_before(seg.safe_end)
            behind = [] if seg.sealed else seg.marks_behind(seg.safe_end)
            self.claim = max([self.claim, claim] + [mark[:2] for mark in behind])
            if self.claim[0] > seg.ordinal: break
            chain, reached, broken = self.walk_back(seg, seg.safe_end, first)
            if top < self.claim or not broken or broken < max(self.claim, reached):  # else: never made durable
                self.chain, self.first, self.claim = chain, first, max(self.claim, reached)
                if top < self.claim:            # the first live seq may have been raised behind the damage
                    broken, self.first = top, max([first] + [mark[2] for mark in behind[-1:]])
                    self.chain = self.walk_back(seg, seg.safe_end, self.first)[0]
                elif broken and broken[1] <= PAGE:
                    self.keep_below(broken[0], first)
                if broken: self.corrupt(*broken, "damaged or ends here, below the claim %d:%d" % self.claim)
                return not broken
        if self.claim[0]:
            self.keep_below(self.claim[0], 1)
            self.corrupt(self.claim[0], PAGE, "no segment, or no valid link, below the claim %d:%d" % self.claim)
        return not self.claim[0]
    def check_end(self):
        """The rest of §6: what else is corrupt, and what the end looks like."""
        newest, end = self.chain[0] if self.chain else (None, 0)
        top = newest.ordinal if newest else 0
        above = [n for n in self.segments if n > top]
        missing = [n for n, m in enumerate(above, top + 1) if n != m][:1]
        missing += [self.newest] if self.newest > top and self.newest not in above else []
        if newest:
            oldest, at, next_seq = self.chain[-1][0], newest.said_before(end)[0], newest.seqs[newest.ends.index(end)]
            if newest.sealed:
                named, salt = newest.seal()[3:5]
                missing += [] if named in above and getattr(self.segments[named], "salt", salt) == salt else [named]
            if self.first < oldest.base or self.first > next_seq:
                self.corrupt(top, at, "first live seq %d is not in %d..%d" % (self.first, oldest.base, next_seq))
        for ordinal in sorted(set(missing)): self.corrupt(ordinal, 0, "missing or replaced")
        for ordinal in ([n for n in above if self.segments[n].fault] + missing)[:1]: self.keep_below(ordinal, 1)
        tails = [(newest, end)] * bool(newest and not newest.sealed) + [(self.segments[n], PAGE) for n in above]
        for seg, end in (t for t in tails if not t[0].fault and t[0].used_end(t[1]) > t[1]):
            self.warnings.append("torn tail: %s at offset %d, %d bytes" % (seg.name, end, seg.used_end(end) - end))

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
    print("".join(line + "\n" for line in journal.warnings + journal.damage), end="", file=sys.stderr)
    sys.exit(1 if journal.damage else 0)

if __name__ == "__main__": main()
