package statetest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// numGroups of the suite's job; small, so that groups hold several keys.
const numGroups = 64

// The suite's tables.
const (
	tabLines = iota
	tabBag
	tabSplit
	tabSorted
	tabUnion
	numTables
)

func tables() []state.TableSpec {
	ts := make([]state.TableSpec, numTables)
	for i := range ts {
		ts[i].ID[0] = byte(i + 1)
		ts[i].Name = fmt.Sprint("table ", i)
	}
	ts[tabLines].Kind, ts[tabLines].Width = state.KindLines, width
	ts[tabBag].Kind = state.KindBag
	ts[tabSorted].Kind = state.KindSorted
	ts[tabSplit].Kind, ts[tabSplit].Redist = state.KindList, state.Split
	ts[tabUnion].Kind, ts[tabUnion].Redist = state.KindList, state.Union
	return ts
}

// Options of a run.
type Options struct {
	Steps  int             // epochs
	Others []state.Backend // to restore on besides the one under test
	Cache  int64           // Spec.CacheBytes: small, to force eviction
	Limit  int64           // Spec.Limit
	FS     vfs.FS          // default: in memory
	Dir    string
}

// Seed gives the seed of a randomised test: STATETEST_SEED or the time. It is
// logged.
func Seed(t testing.TB) uint64 {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("STATETEST_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("STATETEST_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("replay with STATETEST_SEED=%d", seed)
	return seed
}

// run is one random run.
type run struct {
	t     *testing.T
	o     Options
	r     *rand.Rand
	main  state.Backend
	keys  [][]byte
	subs  []*state.State
	epoch types.Epoch
	now   *model
	begin *model // when the epoch began

	saved   *model // content of handles
	handles []state.Handle
	uploads *uploads // in flight
	stats   state.Stats
}

// uploads is a checkpoint on its way.
type uploads struct {
	epoch   types.Epoch
	content *model
	frozen  []state.Frozen
	handles []state.Handle
	errs    chan error
}

// Run runs the suite on a backend and gives the work of its states in sum.
func Run(t *testing.T, b state.Backend, o Options) state.Stats {
	if o.FS == nil {
		o.FS, o.Dir = vfs.NewMem(), "work"
	}
	if o.Steps == 0 {
		o.Steps = 150
	}
	seed := Seed(t)
	x := &run{t: t, o: o, r: rand.New(rand.NewPCG(seed, 1)), main: b, now: newModel(), saved: newModel(), epoch: 1}
	x.keys = keyPool(x.r, 300)
	x.must(o.FS.MkdirAll(o.FS.PathJoin(o.Dir, "root"), 0o755))
	x.open(b, 1+x.r.IntN(4))
	for i := 0; i < o.Steps; i++ {
		x.step()
	}
	x.finish(true)
	x.check()
	x.close()
	return x.stats
}

func (x *run) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatalf("epoch %d: %v", x.epoch, err)
	}
}

func (x *run) root() string { return x.o.FS.PathJoin(x.o.Dir, "root") }

func (x *run) open(b state.Backend, p int) {
	x.subs = nil
	for i := 0; i < p; i++ {
		dir := x.o.FS.PathJoin(x.o.Dir, fmt.Sprint("scratch-", i))
		x.must(x.o.FS.MkdirAll(dir, 0o755))
		s, err := state.Open(context.Background(), b, state.Spec{
			Subtask: i, NumGroups: numGroups, Groups: types.RangeOf(i, numGroups, p), Tables: tables(),
			FS: x.o.FS, Dir: dir, Root: x.root(), Limit: x.o.Limit, CacheBytes: x.o.Cache,
		}, x.handles)
		x.must(err)
		x.subs = append(x.subs, s)
	}
	x.begin = x.now.clone()
}

func (x *run) close() {
	for _, s := range x.subs {
		st := s.Stats()
		x.stats.Loaded += st.Loaded
		x.stats.Evicted += st.Evicted
		x.stats.Spills += st.Spills
		x.must(s.Close())
	}
}

// owner gives the subtask of a key.
func (x *run) owner(k []byte) int {
	return types.GroupOwner(types.KeyGroup(types.HashKey(k), numGroups), numGroups, len(x.subs))
}

// batches deals random keys out to the subtasks.
func (x *run) batches(n int) []types.KeyBatch {
	out := make([]types.KeyBatch, len(x.subs))
	hot := x.r.IntN(len(x.keys))
	for i := 0; i < n; i++ {
		k := x.keys[x.r.IntN(len(x.keys))]
		if x.r.IntN(4) == 0 {
			k = x.keys[hot]
		}
		out[x.owner(k)].Add(k)
	}
	return out
}

// step is one epoch with random operations, and perhaps a checkpoint, a crash
// or a move.
func (x *run) step() {
	for i := x.r.IntN(6); i > 0; i-- {
		switch x.r.IntN(3) {
		case 0:
			x.changeLines()
		case 1:
			x.changeBag()
		default:
			x.changeSorted()
		}
	}
	if x.r.IntN(5) == 0 {
		x.setLists()
	}
	x.flush()
	after := x.r.IntN(2) == 0 // freeze before or after EndEpoch
	if after {
		x.endEpoch()
	}
	if x.uploads == nil && x.r.IntN(4) == 0 {
		e := x.epoch
		if after {
			e--
		}
		x.freeze(e)
	}
	if !after {
		x.endEpoch()
	}
	if x.r.IntN(4) == 0 {
		x.finish(x.r.IntN(4) > 0)
	}
	if x.r.IntN(15) == 0 {
		x.crash()
	}
	if x.r.IntN(3) == 0 {
		x.check()
	}
}

func (x *run) endEpoch() {
	for _, s := range x.subs {
		x.must(s.EndEpoch())
	}
	x.begin = x.now.clone()
	x.epoch++
}

func (x *run) changeLines() {
	for i, k := range x.batches(1 + x.r.IntN(60)) {
		l := x.subs[i].Lines(tabLines)
		slots := make([]state.Slot, k.Len())
		mode := state.Mode(x.r.IntN(2))
		x.must(l.Resolve(&k, mode, slots))
		for j, s := range slots {
			key := string(k.Key(j))
			have, ok := x.now.lines[key]
			if found := s != state.NoSlot && l.Live(s); mode == state.Find && found != ok {
				x.t.Fatalf("epoch %d: key %q found: %v, should be %v", x.epoch, key, found, ok)
			}
			if s == state.NoSlot {
				continue
			}
			if !ok && l.Live(s) { // created by this batch
				have.row = string(make([]byte, width))
			}
			if !l.Live(s) {
				continue // deleted by this batch
			}
			if got := string(l.Line(s)); got != have.row || string(l.Blob(s)) != have.blob {
				x.t.Fatalf("epoch %d: key %q holds %x %d, should be %x %d", x.epoch, key, got, len(l.Blob(s)), have.row, len(have.blob))
			}
			x.now.lines[key] = have
			switch x.r.IntN(5) {
			case 0:
				l.Delete(s)
				delete(x.now.lines, key)
				continue
			case 1:
				have.blob = string(randomBytes(x.r, []int{10, 300, 9000}[x.r.IntN(3)]))
				l.Mutable(s)
				l.SetBlob(s, []byte(have.blob))
			case 2:
				continue
			default:
				row := l.Mutable(s)
				row[x.r.IntN(width)]++
				have.row = string(row)
			}
			x.now.lines[key] = have
		}
	}
}

func (x *run) changeBag() {
	for i, k := range x.batches(1 + x.r.IntN(80)) {
		var images types.ByteBatch
		var diff []int32
		for j := 0; j < k.Len(); j++ {
			key := string(k.Key(j))
			im, d := []byte(fmt.Sprint("row", x.r.IntN(30))), int32(1)
			if g := x.now.bag[key]; len(g) > 0 && x.r.IntN(2) == 0 {
				for s := range g {
					im = []byte(s)
					break
				}
				d = -1
			}
			if x.r.IntN(10) == 0 {
				d = int32(x.r.IntN(7) - 3)
			}
			images.Add(im)
			diff = append(diff, d)
			if d != 0 {
				bump(x.now.bag, key, string(im), int64(d))
			}
		}
		x.must(x.subs[i].Bag(tabBag).Add(&k, &images, diff))
	}
}

func (x *run) changeSorted() {
	for i, k := range x.batches(1 + x.r.IntN(80)) {
		var ord types.KeyBatch
		var images types.ByteBatch
		var diff []int32
		for j := 0; j < k.Len(); j++ {
			key := string(k.Key(j))
			e := entry{string(types.AppendKeyDatum(nil, types.NewInt8(x.r.Int64N(1000)))), fmt.Sprint("i", x.r.IntN(3))}
			if x.r.IntN(3) == 0 {
				e.ord = string(types.AppendKeyDatum(nil, types.NewText("abc"[:x.r.IntN(4)])))
			}
			d := int32(1)
			if g := x.now.sorted[key]; len(g) > 0 && x.r.IntN(2) == 0 {
				for s := range g {
					e = s
					break
				}
				d = -1
			}
			ord.Add([]byte(e.ord))
			images.Add([]byte(e.image))
			diff = append(diff, d)
			bump(x.now.sorted, key, e, int64(d))
		}
		x.must(x.subs[i].Sorted(tabSorted).Add(&k, &ord, &images, diff))
	}
}

// setLists gives every subtask fresh items.
func (x *run) setLists() {
	x.now.split, x.now.union = nil, nil
	for _, s := range x.subs {
		for t, all := range map[int]*[]string{tabSplit: &x.now.split, tabUnion: &x.now.union} {
			var items [][]byte
			for n := x.r.IntN(4); n > 0; n-- {
				items = append(items, randomBytes(x.r, 20))
				*all = append(*all, string(items[len(items)-1]))
			}
			s.List(t).Set(items)
		}
	}
}

// flush compares the touched lines' pre-images with the epoch's start.
func (x *run) flush() {
	changed := map[string]bool{}
	for _, s := range x.subs {
		l := s.Lines(tabLines)
		for i := 0; i < l.Touched(); i++ {
			slot, old, oldBlob, existed := l.TouchedAt(i)
			key := string(l.Key(slot))
			if changed[key] {
				x.t.Fatalf("epoch %d: key %q touched twice", x.epoch, key)
			}
			changed[key] = true
			was, ok := x.begin.lines[key]
			if ok != existed || was.row != string(old) || was.blob != string(oldBlob) {
				x.t.Fatalf("epoch %d: key %q: pre-image %v %x, should be %v %x", x.epoch, key, existed, old, ok, was.row)
			}
			if _, ok := x.now.lines[key]; ok != l.Live(slot) {
				x.t.Fatalf("epoch %d: key %q live: %v", x.epoch, key, l.Live(slot))
			}
		}
	}
	for k, v := range x.now.lines {
		if w, ok := x.begin.lines[k]; (!ok || v != w) && !changed[k] {
			x.t.Fatalf("epoch %d: key %q changed but not touched", x.epoch, k)
		}
	}
}

func (x *run) freeze(e types.Epoch) {
	u := &uploads{epoch: e, content: x.now.clone(), errs: make(chan error, len(x.subs))}
	for _, s := range x.subs {
		f, err := s.Freeze(e)
		x.must(err)
		u.frozen = append(u.frozen, f)
	}
	x.uploads = u
	if x.r.IntN(6) == 0 {
		for _, f := range u.frozen {
			f.Discard()
		}
		x.uploads = nil
		return
	}
	u.handles = make([]state.Handle, len(u.frozen))
	for i, f := range u.frozen {
		go func() {
			h, err := f.Upload(context.Background(), state.Dest{FS: x.o.FS, Root: x.root(), Prefix: fmt.Sprint("j-", i)})
			u.handles[i] = h
			u.errs <- err
		}()
	}
}

// finish waits for the uploads in flight, and takes them as the last
// checkpoint if keep.
func (x *run) finish(keep bool) {
	u := x.uploads
	if u == nil {
		return
	}
	for range u.frozen {
		x.must(<-u.errs)
	}
	x.uploads = nil
	if !keep {
		return
	}
	x.handles, x.saved = nil, u.content
	for _, h := range u.handles {
		b := state.AppendHandle(nil, &h)
		got, rest, err := state.DecodeHandle(b)
		x.must(err)
		if len(rest) != 0 || !bytes.Equal(state.AppendHandle(nil, &got), b) {
			x.t.Fatal("handle does not survive its codec")
		}
		x.handles = append(x.handles, got)
	}
	if x.r.IntN(3) == 0 {
		x.canonical()
	}
}

// canonical turns the last checkpoint into a savepoint and back.
func (x *run) canonical() {
	ctx := context.Background()
	for _, h := range x.handles {
		b, err := state.Lookup(h.Backend)
		x.must(err)
		x.must(b.Verify(ctx, x.o.FS, x.root(), h))
	}
	all := types.GroupRange{Lo: 0, Hi: numGroups}
	it, err := state.ReadHandles(ctx, x.o.FS, x.root(), x.handles, all)
	x.must(err)
	h, err := state.WriteCanonical(ctx, state.Dest{FS: x.o.FS, Root: x.root(), Prefix: "save"}, x.handles[0].Tables, all, numGroups, x.epoch, it)
	x.must(err)
	x.handles = []state.Handle{h}
}

// crash drops the states and restores from the last checkpoint, perhaps with
// another parallelism and on another backend.
func (x *run) crash() {
	x.finish(x.r.IntN(2) == 0)
	x.close()
	x.now = x.saved.clone()
	b, p := x.main, len(x.subs)
	if x.r.IntN(2) == 0 {
		p = 1 + x.r.IntN(8)
	}
	if len(x.o.Others) > 0 && x.r.IntN(2) == 0 {
		b = x.o.Others[x.r.IntN(len(x.o.Others))]
	}
	x.open(b, p)
	x.epoch++
	x.checkLists()
	x.check()
}

func (x *run) checkLists() {
	var split []string
	for _, s := range x.subs {
		for _, b := range s.List(tabSplit).Items() {
			split = append(split, string(b))
		}
		var union []string
		for _, b := range s.List(tabUnion).Items() {
			union = append(union, string(b))
		}
		same(x.t, "union list", union, x.now.union)
	}
	same(x.t, "split list", split, x.now.split)
	// What each subtask holds now is what it saves next: the sum of all.
	x.now.union = nil
	for _, s := range x.subs {
		for _, b := range s.List(tabUnion).Items() {
			x.now.union = append(x.now.union, string(b))
		}
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%s: %q, should be %q", what, got, want)
	}
}
