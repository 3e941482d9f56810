package exec

import (
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/types"
)

// distinctRows bounds the pairs (group, value) whose changes wait for the
// flush.
const distinctRows = 64 << 10

// drainRows is how many pairs are applied at once.
const drainRows = 1024

// distinctSet is the argument values of DISTINCT calls: how often each stands
// in its group. The calls' accumulators see a value when it comes first and
// when it goes last. Changes are summed over the epoch, because within one a
// retraction may come before what it retracts; past a bound those are applied
// early for which it can not.
type distinctSet struct {
	use   SortedUse
	index int // in aggLayout.sorted
	table *state.Sorted
	kind  types.Type

	// The epoch's changes: open addressing over pairs.
	keys  types.ByteBatch // of the groups
	ord   types.ByteBatch
	image types.ByteBatch // of the value in its one form
	hash  []uint64
	net   []int64
	place []int32 // index+1, 0: empty
	limit int     // pairs at which to drain

	enc, pic []byte
	found    state.Matches
	batch    distinctBatch
}

// distinctBatch is pairs on their way into state.
type distinctBatch struct {
	keys, ord types.KeyBatch
	images    types.ByteBatch
	diff      []int32
	groups    types.KeyBatch // of the values that come or go
	values    types.Chunk    // one column, with +1 and -1
	slots     []state.Slot
	rows      [][]byte
}

func newDistinctSet(u SortedUse, index int, table *state.Sorted, t types.Type) distinctSet {
	d := distinctSet{use: u, index: index, table: table, kind: t, limit: distinctRows}
	d.found.Max = 1
	d.batch.values = *types.NewChunk([]types.Type{t})
	d.batch.slots, d.batch.rows = make([]state.Slot, drainRows), make([][]byte, drainRows)
	return d
}

// add sums the values of c, whose groups' keys are a.keys.
func (d *distinctSet) add(a *hashAgg, c *types.Chunk) error {
	arg, filter := &c.Cols[d.use.Arg], column(c, d.use.Filter)
	one := types.Chunk{Cols: c.Cols[d.use.Arg : d.use.Arg+1]}
	call := AggCall{}
	for k, n := 0, c.Rows(); k < n; k++ {
		r := c.Row(k)
		if !call.counts(arg, filter, r) {
			continue
		}
		d.enc = types.AppendKey(d.enc[:0], arg, r)
		if d.kind.Kind.ImageIsKey() {
			d.pic = types.AppendImage(d.pic[:0], &one, r, nil)
		} else {
			d.pic = types.AppendImageDatum(d.pic[:0], oneForm(arg.Datum(r)))
		}
		d.sum(a.keys.Key(k), a.keys.Hash[k], int64(c.DiffAt(r)))
	}
	if len(d.net) < d.limit {
		return nil
	}
	return d.drain(a, false)
}

// sum adds to the pair of key and the value in enc and pic.
func (d *distinctSet) sum(key []byte, hash uint64, diff int64) {
	if 2*(len(d.net)+1) > len(d.place) {
		d.grow()
	}
	h := hash ^ types.HashKey(d.enc)*0x9e3779b97f4a7c15
	mask := uint64(len(d.place) - 1)
	for p := h & mask; ; p = (p + 1) & mask {
		i := d.place[p]
		if i == 0 {
			d.keys.Add(key)
			d.ord.Add(d.enc)
			d.image.Add(d.pic)
			d.hash = append(d.hash, h)
			d.net = append(d.net, diff)
			d.place[p] = int32(len(d.net))
			return
		}
		i--
		if d.hash[i] == h && string(d.ord.Bytes(int(i))) == string(d.enc) && string(d.keys.Bytes(int(i))) == string(key) {
			d.net[i] += diff
			return
		}
	}
}

func (d *distinctSet) grow() {
	d.place = make([]int32, max(1024, 2*len(d.place)))
	d.rehash()
}

func (d *distinctSet) rehash() {
	mask := uint64(len(d.place) - 1)
	for i, h := range d.hash {
		p := h & mask
		for d.place[p] != 0 {
			p = (p + 1) & mask
		}
		d.place[p] = int32(i + 1)
	}
}

// drain applies the pairs. Before the flush, those stay whose value would
// stand less than no times: what they retract is still to come.
func (d *distinctSet) drain(a *hashAgg, flush bool) error {
	stay := 0
	for lo := 0; lo < len(d.net); lo += drainRows {
		kept, err := d.apply(a, lo, min(lo+drainRows, len(d.net)))
		if err != nil {
			return err
		}
		stay += kept
	}
	if stay > 0 && flush {
		return a.errNegative()
	}
	d.keep(stay)
	d.limit = max(distinctRows, 2*stay)
	return nil
}

// keep empties the pairs, except stay ones with a net change left.
func (d *distinctSet) keep(stay int) {
	var keys, ord, image types.ByteBatch
	var hash []uint64
	var net []int64
	for i := 0; stay > 0 && i < len(d.net); i++ {
		if d.net[i] != 0 {
			keys.Add(d.keys.Bytes(i))
			ord.Add(d.ord.Bytes(i))
			image.Add(d.image.Bytes(i))
			hash, net = append(hash, d.hash[i]), append(net, d.net[i])
		}
	}
	clear(d.place)
	if stay > 0 {
		d.keys, d.ord, d.image, d.hash, d.net = keys, ord, image, hash, net
		d.rehash()
		return
	}
	d.keys.Reset()
	d.ord.Reset()
	d.image.Reset()
	d.hash, d.net = d.hash[:0], d.net[:0]
}

// apply brings pairs lo to hi into state and tells the accumulators; stay is
// how many have to wait. What was applied has net 0.
func (d *distinctSet) apply(a *hashAgg, lo, hi int) (stay int, err error) {
	b := &d.batch
	b.reset()
	for i := lo; i < hi; i++ {
		if d.net[i] == 0 {
			continue
		}
		had, err := d.count(i)
		if err != nil {
			return 0, err
		}
		now := had + d.net[i]
		if (now < had) != (d.net[i] < 0) {
			return 0, errMultiplicity()
		}
		if now < 0 {
			stay++
			continue
		}
		for left := d.net[i]; left != 0; {
			part := clampDiff(left)
			left -= int64(part)
			b.keys.Add(d.keys.Bytes(i))
			b.ord.Add(d.ord.Bytes(i))
			b.images.Add(d.image.Bytes(i))
			b.diff = append(b.diff, part)
		}
		d.net[i] = 0
		if (had > 0) != (now > 0) {
			if err := b.change(d.keys.Bytes(i), d.image.Bytes(i), now > 0); err != nil {
				return 0, err
			}
		}
	}
	if b.keys.Len() > 0 {
		if err := d.table.Add(&b.keys, &b.ord, &b.images, b.diff); err != nil {
			return 0, err
		}
	}
	return stay, d.update(a)
}

// count gives how often pair i's value stands in its group.
func (d *distinctSet) count(i int) (int64, error) {
	d.found.Begin()
	if err := d.table.Seek(d.keys.Bytes(i), d.ord.Bytes(i), 1, &d.found); err != nil {
		return 0, err
	}
	if len(d.found.Count) == 0 || string(d.found.Image.Bytes(0)) != string(d.image.Bytes(i)) {
		return 0, nil
	}
	return d.found.Count[0], nil
}

// update tells the accumulators which values came and went.
func (d *distinctSet) update(a *hashAgg) error {
	b := &d.batch
	n := b.groups.Len()
	if n == 0 {
		return nil
	}
	if err := a.lines.Resolve(&b.groups, state.Create, b.slots[:n]); err != nil {
		return err
	}
	a.lines.MutableRows(b.slots[:n], b.rows[:n])
	v := &b.values.Cols[0]
	for i := range a.calls {
		c := &a.calls[i]
		if c.distinct != d.index {
			continue
		}
		if c.form == formFixed {
			c.fixed.Update(b.rows[:n], c.off, v, &b.values, nil)
			continue
		}
		for k := range n {
			a.part.split(a.lines.Blob(b.slots[k]))
			a.value = c.vari.Update(a.part.get(c.part), v, k, b.values.Diff[k], a.value[:0])
			a.part.set(c.part, a.value)
			a.storeBlob(b.slots[k])
		}
	}
	return nil
}

func (b *distinctBatch) reset() {
	b.keys.Reset()
	b.ord.Reset()
	b.images.Reset()
	b.diff = b.diff[:0]
	b.groups.Reset()
	b.values.Reset()
	if b.values.Diff == nil {
		b.values.Diff = make([]int32, 0, drainRows)
	}
}

// change notes that a value came or went.
func (b *distinctBatch) change(group, image []byte, comes bool) error {
	if err := types.DecodeImage(image, b.values.Cols); err != nil {
		return pgerr.Wrap(err, pgerr.DataCorrupted, "a value in the state of an aggregate can not be read")
	}
	b.groups.Add(group)
	diff := int32(-1)
	if comes {
		diff = 1
	}
	b.values.Diff = append(b.values.Diff, diff)
	b.values.N++
	return nil
}

// oneForm gives the one form of a value that SQL has several equal ones of: a
// value must go from an accumulator as it came.
func oneForm(d types.Datum) types.Datum {
	switch d.Type.Kind {
	case types.Float8:
		if d.F == 0 {
			d.F = 0
		}
	case types.Numeric:
		d.B = shortest(types.DecodeNumeric(d.B)).Append(nil)
	}
	return d
}

// maxScale is the largest scale of a numeric.
const maxScale = 16383

// shortest gives a numeric with the least scale that keeps its value.
func shortest(n types.Num) types.Num {
	lo, hi := 0, maxScale
	best := n
	for lo <= hi {
		mid := (lo + hi) / 2
		r, err := types.NumRound(n, mid)
		if err == nil && types.NumCmp(r, n) == 0 {
			best, hi = r, mid-1
		} else {
			lo = mid + 1
		}
	}
	return best
}
