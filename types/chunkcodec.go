package types

import (
	"encoding/binary"
	"errors"
	"math"
)

// The columnar form of a chunk, for the journal and for exchanges between
// processes. All integers little-endian:
//
//	uvarint rows (selected ones only), uvarint columns
//	byte: how multiplicities are kept, 0 all +1, 1 one byte each, 2 four
//	per column: byte 1 if it has NULLs, then a bit per row, padded with 0
//	  bool            a bit per row, padded with 0
//	  int2            2 bytes a row
//	  int4, oid, date 4 bytes a row
//	  int8, time, timestamps, floats  8 bytes a row
//	  interval, timetz  µs 8, days 4, months 4 bytes a row
//	  others          uvarint length of each row, then all the bytes
//
// The slot of a NULL is zeros, or length 0. Frozen: the journal keeps it.

// errChunk is what DecodeChunk says of bytes that are no chunk of the types.
var errChunk = errors.New("malformed chunk")

const (
	diffsNone = iota
	diffsByte
	diffsWord
)

// EncodeChunk appends the selected rows of c with their multiplicities.
func EncodeChunk(dst []byte, c *Chunk) []byte {
	n := c.Rows()
	dst = binary.AppendUvarint(dst, uint64(n))
	dst = binary.AppendUvarint(dst, uint64(len(c.Cols)))
	dst = appendDiffs(dst, c, n)
	for i := range c.Cols {
		dst = appendColumn(dst, &c.Cols[i], c, n)
	}
	return dst
}

func appendDiffs(dst []byte, c *Chunk, n int) []byte {
	form := byte(diffsNone)
	for k := 0; k < n && form != diffsWord && c.Diff != nil; k++ {
		switch d := c.Diff[c.Row(k)]; {
		case d != int32(int8(d)):
			form = diffsWord
		case d != 1:
			form = diffsByte
		}
	}
	dst = append(dst, form)
	for k := 0; k < n && form != diffsNone; k++ {
		d := c.Diff[c.Row(k)]
		if form == diffsByte {
			dst = append(dst, byte(d))
		} else {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(d))
		}
	}
	return dst
}

func appendColumn(dst []byte, v *Vec, c *Chunk, n int) []byte {
	nulls := v.Nulls
	if nulls != nil {
		nulls = nil
		for k := 0; k < n; k++ {
			if v.Nulls.Get(c.Row(k)) {
				nulls = v.Nulls
				break
			}
		}
	}
	if nulls == nil {
		dst = append(dst, 0)
	} else {
		dst = append(dst, 1)
		dst = appendBits(dst, n, func(k int) bool { return nulls.Get(c.Row(k)) })
	}
	switch v.Type.Kind.Phys() {
	case PhysBool:
		return appendBits(dst, n, func(k int) bool { r := c.Row(k); return v.Bool[r] && !nulls.Get(r) })
	case PhysInt64:
		return appendInts(dst, v, nulls, c, n)
	case PhysFloat64:
		for k := 0; k < n; k++ {
			var u uint64
			if r := c.Row(k); !nulls.Get(r) {
				u = floatImage(v.F64[r])
			}
			dst = binary.LittleEndian.AppendUint64(dst, u)
		}
	case PhysInterval:
		for k := 0; k < n; k++ {
			var iv IntervalValue
			if r := c.Row(k); !nulls.Get(r) {
				iv = v.Iv[r]
			}
			dst = appendImageInterval(dst, iv)
		}
	default:
		return appendStrings(dst, v, nulls, c, n)
	}
	return dst
}

func appendInts(dst []byte, v *Vec, nulls Bitmap, c *Chunk, n int) []byte {
	w := v.Type.Kind.width()
	off := len(dst)
	dst = append(dst, make([]byte, n*w)...) // compiled without the temporary
	out := dst[off:]
	for k := 0; k < n; k++ {
		r := c.Row(k)
		if nulls.Get(r) {
			continue
		}
		switch w {
		case 2:
			binary.LittleEndian.PutUint16(out[k*2:], uint16(v.I64[r]))
		case 4:
			binary.LittleEndian.PutUint32(out[k*4:], uint32(v.I64[r]))
		default:
			binary.LittleEndian.PutUint64(out[k*8:], uint64(v.I64[r]))
		}
	}
	return dst
}

func appendStrings(dst []byte, v *Vec, nulls Bitmap, c *Chunk, n int) []byte {
	for k := 0; k < n; k++ {
		var l uint32
		if r := c.Row(k); !nulls.Get(r) {
			l = v.Span[r].Len
		}
		dst = binary.AppendUvarint(dst, uint64(l))
	}
	for k := 0; k < n; k++ {
		if r := c.Row(k); !nulls.Get(r) {
			s := v.Span[r]
			dst = append(dst, v.Data[s.Off:s.Off+s.Len]...)
		}
	}
	return dst
}

func appendBits(dst []byte, n int, bit func(int) bool) []byte {
	for k := 0; k < n; k += 8 {
		var b byte
		for j := k; j < min(k+8, n); j++ {
			if bit(j) {
				b |= 1 << (j - k)
			}
		}
		dst = append(dst, b)
	}
	return dst
}

// DecodeChunk takes a chunk with columns of types ts off b; rest is what
// follows it. The chunk shares nothing with b. Bytes that are no such chunk
// are an error, and never make it allocate more than a small multiple of
// their number.
func DecodeChunk(b []byte, ts []Type) (c *Chunk, rest []byte, err error) {
	rows, w := binary.Uvarint(b)
	if w <= 0 || rows > MaxChunkRows {
		return nil, b, errChunk
	}
	b = b[w:]
	cols, w := binary.Uvarint(b)
	if w <= 0 || cols != uint64(len(ts)) {
		return nil, b, errChunk
	}
	d := chunkDecoder{b: b[w:], n: int(rows)}
	c = NewChunk(ts)
	c.N = d.n
	c.Diff = d.diffs()
	for i := range c.Cols {
		d.column(&c.Cols[i])
	}
	if d.bad {
		return nil, d.b, errChunk
	}
	return c, d.b, nil
}

// chunkDecoder reads a chunk of n rows from b. Once bad, it gives nothing.
type chunkDecoder struct {
	b   []byte
	n   int
	bad bool
}

// take gives the next n bytes, nil if there are too few.
func (d *chunkDecoder) take(n int) []byte {
	if d.bad || n > len(d.b) {
		d.bad = true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

// bits gives the next bit per row, nil on error.
func (d *chunkDecoder) bits() []byte {
	b := d.take((d.n + 7) >> 3)
	if used := d.n & 7; used != 0 && len(b) > 0 && b[len(b)-1]>>used != 0 {
		d.bad = true
	}
	if d.bad {
		return nil
	}
	return b
}

func (d *chunkDecoder) diffs() []int32 {
	form := d.take(1)
	if d.bad || form[0] == diffsNone {
		return nil
	}
	var diff []int32
	switch form[0] {
	case diffsByte:
		b := d.take(d.n)
		diff = make([]int32, len(b))
		for i, x := range b {
			diff[i] = int32(int8(x))
		}
	case diffsWord:
		b := d.take(4 * d.n)
		diff = make([]int32, len(b)/4)
		for i := range diff {
			diff[i] = int32(binary.LittleEndian.Uint32(b[i*4:]))
		}
	default:
		d.bad = true
	}
	for _, x := range diff {
		if x == 0 {
			d.bad = true
		}
	}
	return diff
}

func (d *chunkDecoder) column(v *Vec) {
	has := d.take(1)
	switch {
	case d.bad:
		return
	case has[0] > 1:
		d.bad = true
		return
	case has[0] == 1:
		d.nulls(v)
	}
	switch k := v.Type.Kind; k.Phys() {
	case PhysBool:
		if b := d.bits(); !d.bad {
			v.Bool = make([]bool, d.n)
			for i := range v.Bool {
				v.Bool[i] = b[i>>3]&(1<<(i&7)) != 0
			}
		}
	case PhysInt64:
		w := k.width()
		b := d.take(w * d.n)
		v.I64 = make([]int64, len(b)/w)
		for i := range v.I64 {
			v.I64[i] = readInt(b[i*w:], k)
		}
	case PhysFloat64:
		b := d.take(8 * d.n)
		v.F64 = make([]float64, len(b)/8)
		for i := range v.F64 {
			v.F64[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[i*8:]))
		}
	case PhysInterval:
		b := d.take(16 * d.n)
		v.Iv = make([]IntervalValue, len(b)/16)
		for i := range v.Iv {
			v.Iv[i] = readInterval(b[i*16:])
		}
	default:
		d.strings(v)
	}
}

func (d *chunkDecoder) nulls(v *Vec) {
	b := d.bits()
	if d.bad {
		return
	}
	v.Nulls = MakeBitmap(nil, d.n)
	for i := range d.n {
		if b[i>>3]&(1<<(i&7)) != 0 {
			v.Nulls.Set(i)
		}
	}
}

func (d *chunkDecoder) strings(v *Vec) {
	if d.bad || d.n > len(d.b) { // each length is a byte at least
		d.bad = true
		return
	}
	v.Span = make([]Span, d.n)
	total := uint64(0)
	for i := range v.Span {
		l, w := binary.Uvarint(d.b)
		if w <= 0 || l > uint64(len(d.b)) {
			d.bad = true
			return
		}
		d.b = d.b[w:]
		v.Span[i] = Span{Off: uint32(total), Len: uint32(l)}
		if total += l; total > uint64(len(d.b)) || total > math.MaxUint32 {
			d.bad = true
			return
		}
	}
	v.Data = append([]byte(nil), d.take(int(total))...)
	if d.bad {
		return
	}
	for i := range v.Span {
		if !v.Null(i) && !ValidBytes(v.Type.Kind, v.Bytes(i)) {
			d.bad = true
			return
		}
	}
}
