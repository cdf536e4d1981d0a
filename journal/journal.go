package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"

	"mmjournal/recovery"
	"mmjournal/segment"
)

// Seq is a record's sequence number: 1, 2, 3, … without gaps.
type Seq = segment.Seq

// Record is a record that an iteration yields.
type Record struct {
	Seq     Seq
	Payload []byte // valid until the next step of the iteration
}

// Journal is an open journal. Any number of goroutines may use it at once.
type Journal struct {
	// Locks are taken in this order: the syncer's turn, mu, the factory's lock. An append holds mu
	// only. A structural change (truncation, reset, close) holds the turn. A sync takes mu twice,
	// briefly, and holds no lock while the disk works.

	fsys     segment.FS
	dir      string
	opts     Options
	log      *zap.Logger
	readOnly bool
	memory   bool      // no files: see OpenMemory
	held     io.Closer // the open directory, with the writer's lock; nil in memory
	report   *recovery.Report
	damage   error // ReadDamaged: what Records ends with

	// stage is where appends complete their frames, with Durability Synced; else nil.
	stage *segment.Stage

	// mu guards the append path.
	mu struct {
		sync.Mutex
		writer    *segment.Writer // nil until the first frame of this life, after a cut
		start     segment.Link    // what the first segment of this life links to, while writer is nil
		firstLive Seq             // what the next mark or link says
		claim     segment.Position
		unclaimed bool     // claim is not written yet
		unmarked  bool     // there are records after the last mark or link
		atMark    bool     // the last frame is a closing mark
		lacking   bool     // there was no space for the segment that an append has needed
		unsynced  int      // segments that were sealed since the last sync
		skipped   []uint64 // prepared segments that were passed over since then
		past      int64    // bytes appended to earlier segments since then, at least

		// Where in the active segment something is due (ahead.go); nextAt is the lesser one.
		nextAt, prepareAt, populateAt segment.Offset
	}

	// What there is to read, and up to which seq it is durable; with a stage, up to which seq there
	// are records, published or not. Written under mu, read by anyone.
	view    atomic.Pointer[view]
	durable atomic.Uint64
	staged  atomic.Uint64

	// closed is set once, by Close. An append that has seen it unset goes on as long as it holds mu.
	closed  atomic.Bool
	closing struct {
		done chan struct{} // closed when err is set, and everything is given back
		err  error
		left atomic.Bool // the caller that was to return err has returned before
	}

	// failure is set once, by the first failed sync or store.
	failure atomic.Pointer[error]

	// shared is the ordinal of the newest segment whose file was seen to have a second name; or 0.
	shared atomic.Uint64

	syncer     syncer
	released   bool // files and mappings are given back; belongs to who has the syncer's turn
	factory    *factory
	queue      appendQueue
	later      laterSync
	moving     atomic.Bool // moveAheadApart is at work
	populating struct {    // one goroutine at a time, which begins under mu
		sync.WaitGroup
		busy atomic.Bool
	}
	rolls  atomic.Uint64
	names  names
	ticker struct { // of Durability Interval
		stop context.CancelFunc
		done chan struct{}
	}
}

// Open opens the journal in dir for reading and writing. It creates the directory and the journal
// if they do not exist. o may be nil. A journal can be open for writing only once: another Open, in
// this or another process, returns ErrLocked.
//
// Every record that Open finds is durable when Open returns, whatever happened before.
// [Journal.Report] says what Open found. If a crash left bytes after the last complete record that
// no sync had covered, Open drops them. If data is damaged that had been acknowledged as durable,
// Open returns a *CorruptError and changes nothing.
//
// Errors: ErrLocked, ErrFileLocked, ErrCorrupt, ErrVersion, ErrNotJournal, ErrNotExist (with
// MustExist), ErrOptions, ErrNoSpace, and those of the file system.
func Open(dir string, o *Options) (*Journal, error) {
	opts, err := o.forOpen(dir, forWriting)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	d, err := openDir(dir, &opts)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j, err := open(d, d.Path(), opts, folioFor(opts.Durability), true)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open journal: %w", err), d.Close())
	}
	j.held = d
	return j, nil
}

// openDir opens the directory of a journal for writing, with the writer's lock. It creates it where
// there is none.
func openDir(dir string, o *Options) (*segment.Directory, error) {
	if !o.MustExist {
		if err := segment.CreateDir(dir); err != nil {
			return nil, err
		}
	}
	if err := syncParents(dir, segment.SyncPath); err != nil {
		return nil, err
	}
	d, err := segment.OpenDir(dir, segment.DirOptions{
		Mode: o.FileMode, Unlocked: o.Unlocked, NoDirSync: o.NoDirSync,
		Warn: func(text string) { o.Logger.Warn(text, zap.String("journal", dir)) },
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %w", dir, ErrNotExist, err)
	}
	if err != nil {
		return nil, err
	}
	err = recovery.CheckNames(d, d.Path())
	if err == nil {
		err = d.Lock()
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// syncParents makes the name of a directory durable in which there is no journal yet, and those of
// the directories above: an earlier Open may have died between creating and syncing them.
// Directories that this process may not read were not created by it.
func syncParents(dir string, syncDir func(dir string) error) error {
	if _, err := os.Stat(filepath.Join(dir, segment.JournalName)); err == nil {
		return nil
	}
	abs, err := filepath.Abs(dir)
	for up := dir; err == nil && filepath.Dir(abs) != abs; {
		abs, up = filepath.Dir(abs), up+"/.."
		err = syncDir(abs)
		if errors.Is(err, syscall.ENAMETOOLONG) { // from the root, but not from here
			err = syncDir(up)
		}
		// EINVAL, ENOTSUP: a file system that cannot sync directories, such as /proc.
		if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EINVAL) ||
			errors.Is(err, errors.ErrUnsupported) {
			err = nil
		}
	}
	return err
}

// OpenMemory returns an empty journal in anonymous memory, which ends with the process. It behaves
// like a journal on a disk whose syncs take no time.
func OpenMemory(o *Options) (*Journal, error) {
	opts, err := o.forOpen(memoryDir, inMemory)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	fsys := segment.NewMemFS()
	j, err := open(fsys, memoryDir, opts, noFolio, true)
	if err != nil {
		return nil, errors.Join(err, forget(fsys))
	}
	j.memory = true
	return j, nil
}

// memoryDir is what errors call the directory of a journal in memory.
const memoryDir = "memory"

// forget removes the files of a journal in memory: their names keep them there.
func forget(fsys segment.FS) error {
	list, err := fsys.ReadDir(memoryDir)
	for _, e := range list {
		err = errors.Join(err, fsys.Remove(filepath.Join(memoryDir, e.Name())))
	}
	return err
}

// leastAhead is how many staged bytes are moved while a sync is under way; tests lower it. Fewer
// are not worth the system call.
const leastAhead = 256 << 10

// coherent says whether a file's mappings show at once what is written to it (mmap(2) of OpenBSD:
// not without msync).
const coherent = runtime.GOOS != "openbsd"

// open is Open without lock and directory: scan, settle what was found, act on the plan.
func open(
	fsys segment.FS, dir string, o Options, folio folio, background bool,
) (*Journal, error) {
	j := &Journal{
		fsys: fsys, dir: dir, opts: o, log: o.Logger.With(zap.String("journal", dir)),
		factory: newFactory(fsys, dir, o.SegmentSize, folio, background),
	}
	j.factory.log, j.factory.most = j.log, mostReady(&o)
	j.names = names{fsys: fsys, dir: dir}
	if o.Durability == Synced && coherent {
		j.stage = &segment.Stage{Ahead: leastAhead}
		j.factory.spares = o.Spares
	}
	st, err := settled(fsys, dir, o.VerifyOnOpen)
	switch {
	case errors.Is(err, recovery.ErrNotExist) && !o.MustExist:
		st = nil
	case err != nil:
		return nil, err
	}
	if st == nil {
		err = j.create()
	} else {
		err = j.adopt(st)
	}
	if err == nil {
		err = probeMapping(fsys, dir)
	}
	if err != nil {
		return nil, errors.Join(err, j.release())
	}
	j.startTicker()
	return j, nil
}

// settled scans a directory, and makes durable what it is going to show.
func settled(fsys segment.FS, dir string, full bool) (*recovery.State, error) {
	st, err := scan(fsys, dir, full)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(st.ReadOnly, st.Foreign); st.Err == nil && err != nil {
		st.Close()
		return nil, err
	}
	if st.Err == nil && st.Action != recovery.Resume {
		found := st.End
		held, err := st.Settle()
		if held {
			return st, nil
		}
		st.Close()
		if err != nil {
			return nil, fmt.Errorf("make existing records durable: %w", err)
		}
		if st, err = scan(fsys, dir, full); err != nil {
			return nil, err
		}
		if st.Err == nil && st.End.Less(found) {
			end := st.End
			st.Close()
			return nil, fmt.Errorf("%s: the journal ended at %v and, after a sync, ends at %v: "+
				"the disk loses writes", dir, found, end)
		}
	}
	if st.Err != nil {
		st.Close()
		return nil, st.Err
	}
	return st, nil
}

// create sets up a journal in an empty directory.
func (j *Journal) create() error {
	id := segment.NewID()
	if err := j.names.create(id, j.opts.SegmentSize); err != nil {
		return err
	}
	j.factory.begin(id, 1, j.opts.SegmentSize)
	j.report = &recovery.Report{
		Path: j.dir, ID: id.String(), Version: segment.Version, Verdict: recovery.Intact,
		Label: recovery.Empty, End: recovery.EndEmpty, First: 1,
		Segments: []recovery.Segment{}, Damage: []recovery.Damage{}, Warnings: []string{},
	}
	j.begin(nil, 1, 1, segment.Link{Base: 1, FirstLive: 1, Reason: segment.ReasonStart})
	j.factory.want()
	return nil
}

// begin sets the watermarks and what the first frame of this life will be.
func (j *Journal) begin(chain []*segment.Segment, firstLive, next Seq, start segment.Link) {
	j.view.Store(&view{first: firstLive, chain: chain, empty: next})
	j.durable.Store(uint64(next - 1))
	j.closing.done = make(chan struct{})
	j.mu.firstLive = firstLive
	j.mu.start = start
}

// adopt takes over what a scan has found and does what it decided.
func (j *Journal) adopt(st *recovery.State) error {
	defer st.Close()
	j.report = st.Report
	if err := j.names.found(st); err != nil {
		return err
	}
	if err := recovery.Remove(j.fsys, j.dir, st.Temps()...); err != nil {
		return err
	}
	for _, d := range st.Report.Damage {
		j.log.Warn("found at open", zap.Stringer("damage", &d))
	}
	for _, w := range st.Report.Warnings {
		j.log.Warn("found at open", zap.String("warning", w))
	}
	if st.Next > segment.MaxSeq-1<<40 || st.Highest >= segment.MaxOrdinal-1<<20 {
		return fmt.Errorf("seq %d in segment %d: %w: no numbers are left",
			st.Next, st.Highest, ErrOptions)
	}
	highest, err := j.names.discardSpare(st)
	if err != nil {
		return err
	}
	start := segment.Link{Base: st.Next, FirstLive: st.FirstLive, Reason: segment.ReasonStart}
	if st.Label == recovery.Clean {
		if err := j.names.tidy(st.End.Ordinal, j.log); err != nil {
			return err
		}
	}
	if err := j.adoptSize(st.Journal); err != nil {
		return err
	}
	if st.StandIn() {
		start = st.Journal.StandIn
	} else if st.Action == recovery.Cut {
		start = afterEnd(st.Chain[len(st.Chain)-1], st.NewestScan, st.FirstLive)
	}
	filled := int64(0)
	if st.Label == recovery.Clean {
		filled = rolled(st.Chain)
	}
	j.factory.begin(st.ID, highest+1, filled)
	j.syncer.pos = st.End
	scan, action := st.NewestScan, st.Action
	j.begin(st.TakeChain(), st.FirstLive, st.Next, start)
	if action == recovery.Resume {
		return j.resume(scan)
	}
	j.factory.want()
	return nil
}

// resume goes on in the newest segment, which had been closed cleanly.
func (j *Journal) resume(scan *segment.Scan) error {
	v := *j.view.Load()
	chain := slices.Clone(v.chain)
	last := len(chain) - 1
	seg, err := segment.Open(j.fsys, chain[last].Path(), segment.ReadWrite)
	if err != nil {
		return err
	}
	why, err := whyLeave(seg)
	if err != nil {
		return errors.Join(err, seg.Drop())
	}
	if why != 0 {
		j.log.Info("the newest segment is left as it is", zap.Stringer("reason", why))
		j.mu.start = afterEnd(seg, scan, j.mu.firstLive)
		j.mu.start.Reason = why
		return seg.Drop()
	}
	seg.Adopt(scan)
	old := chain[last]
	chain[last] = seg
	v.chain = chain
	j.view.Store(&v)
	j.mu.writer = segment.ResumeWriter(seg, scan, j.stage)
	j.mu.atMark = true
	j.mu.past = -int64(scan.End)
	j.beginAheadLocked(seg, false)
	// The sync of the closing mark may have failed: the mark is in the page cache then, and not on
	// the disk, and no sync would write it.
	if err := errors.Join(old.Drop(), seg.Dirty(scan.Claim.Offset, scan.End)); err != nil {
		return err
	}
	// Before its page was marked as modified it may have left the page cache, and come back without
	// the mark.
	held, err := seg.Holds(scan, scan.Claim.Offset)
	if err == nil && !held {
		err = fmt.Errorf("%s: the closing mark was there and is not any more: the disk loses writes",
			seg.Path())
	}
	// Close makes the file's time durable before JOURNAL says the same as the mark. It may have come
	// no further than the mark.
	if err == nil && j.names.file.Claim != scan.Claim {
		err = seg.SyncTime(scan.End)
	}
	return err
}

// Report describes what Open found, and does not change afterwards. Its Tail is the torn tail that
// was cut off, or nil. See [recovery.Report].
func (j *Journal) Report() *recovery.Report { return j.report }

// First returns the seq of the oldest record. If there is no record, it returns the seq that the
// next one gets.
func (j *Journal) First() Seq { return j.view.Load().first }

// Last returns the seq of the newest published record, or First()-1 if there is none.
func (j *Journal) Last() Seq { return j.Published() }

// Published returns the seq up to which readers can see records, and records survive the process.
func (j *Journal) Published() Seq { return j.view.Load().last() }

// Durable returns the seq up to which records survive a power cut.
func (j *Journal) Durable() Seq { return Seq(j.durable.Load()) }

// fail makes the journal refuse everything that would acknowledge a write from now on. It returns
// the first failure, whoever reported it.
func (j *Journal) fail(err error) error {
	err = fmt.Errorf("%w: %w", ErrFailed, err)
	if j.failure.CompareAndSwap(nil, &err) {
		j.log.Error("journal has failed", zap.Error(err))
	}
	return *j.failure.Load()
}

// failed returns the first failure, or nil.
func (j *Journal) failed() error {
	if p := j.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Close makes everything durable, marks the journal as cleanly closed, and releases it. If nothing
// was written since Open, Close adds no such mark: the journal ends as Open found it. Slices and
// iterations in use stay valid: a segment is unmapped when its last reader is done. If the journal
// has failed, Close returns the error that made it fail. ErrNoSpace means that everything is
// durable and released, but there was no space for the mark, so the next Open checks more. A second
// Close waits for the first one and returns ErrClosed.
func (j *Journal) Close() error { return j.CloseContext(context.Background()) }

// CloseContext is Close with a context. From the call on, the journal is closed for all callers. If
// ctx ends before everything is durable and released, CloseContext returns an error that matches
// ErrPending and that of ctx, and closing goes on in the background. The next Close or CloseContext
// then waits for it, and returns what Close would have returned.
func (j *Journal) CloseContext(ctx context.Context) error {
	first := !j.closed.Swap(true)
	switch {
	case first && ctx.Done() == nil:
		j.close()
	case first:
		go j.close()
	}
	select {
	case <-j.closing.done:
	case <-ctx.Done():
		if first {
			j.closing.left.Store(true)
		}
		select {
		case <-j.closing.done:
		default:
			return pending(ctx, "close")
		}
	}
	if j.closing.left.Swap(false) || first {
		return j.closing.err
	}
	return ErrClosed
}

// close is Close for the one that has set closed.
func (j *Journal) close() {
	defer close(j.closing.done)
	j.stopTicker()
	j.syncer.enter()
	defer j.syncer.leave()
	var err error
	if !j.readOnly {
		err = j.closeCleanly()
	}
	j.released = true
	j.closing.err = errors.Join(err, j.release())
}

// closeCleanly syncs, writes the closing mark, and syncs again. Without the mark nothing is lost:
// the next Open only has more to check. The caller has the syncer's turn.
func (j *Journal) closeCleanly() error {
	if err := j.checkFiles(); err != nil {
		return err
	}
	if err := j.syncChange(); err != nil || j.atClosingMark() {
		return err
	}
	marked, err := j.closingMark()
	if err == nil && !marked {
		// It rolled: the seal and the link must be durable before a mark may claim them.
		if err = j.syncChange(); err == nil {
			_, err = j.closingMark()
		}
	}
	claim := j.syncer.pos // what the mark claims
	if err == nil {
		err = j.syncChange()
	}
	if err != nil || j.isQuiet() { // a stand-in claims it
		return err
	}
	chain := j.view.Load().chain
	last := chain[len(chain)-1]
	if err := j.syncTime(last, last.End()); err != nil {
		return err
	}
	return j.claimOutside(claim)
}

// claimOutside notes in the file JOURNAL that everything below claim is durable. The marks say the
// same, so it is no error if that fails; but a failed sync of the directory makes the journal fail.
func (j *Journal) claimOutside(claim segment.Position) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	err := j.names.setClaim(claim, j.mu.firstLive)
	if fatal(err) {
		return j.fail(err)
	}
	if err != nil {
		j.log.Warn("what is durable is not noted in JOURNAL", zap.Error(err))
	}
	return nil
}

// release gives back memory, descriptors and the lock. Segments that were prepared and not used,
// and spare files, are removed, unless the journal has failed, or the directory could not be
// synced: then nothing on the disk is touched any more.
func (j *Journal) release() error {
	j.mu.Lock()
	j.stage.Discard()
	j.mu.Unlock()
	var err error
	j.populating.Wait()
	left := j.factory.stop()
	for _, seg := range left.ready {
		err = errors.Join(err, seg.Drop())
	}
	if j.failed() == nil && !left.unnamed {
		_, discardErr := j.names.discard(left.prepared()...)
		err = errors.Join(err, discardErr)
		for _, path := range left.spares {
			err = errors.Join(err, recovery.Remove(j.fsys, j.dir, filepath.Base(path)))
		}
	}
	if v := j.view.Load(); v != nil {
		for _, seg := range v.chain {
			err = errors.Join(err, seg.Drop())
		}
	}
	j.names.close()
	if j.held != nil {
		err = errors.Join(err, j.held.Close())
	}
	if j.memory {
		err = errors.Join(err, forget(j.fsys))
	}
	return err
}
