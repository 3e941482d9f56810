package state

import (
	"encoding/binary"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

const handleVersion = 1

// AppendHandle appends the encoding of a handle: a version byte, then the
// fields in order, numbers as uvarints, strings behind their length, lists
// behind their count.
func AppendHandle(dst []byte, h *Handle) []byte {
	dst = append(dst, handleVersion)
	dst = appendBytes(dst, []byte(h.Backend))
	for _, v := range []uint64{uint64(h.Format), uint64(h.Epoch), uint64(h.Groups.Lo), uint64(h.Groups.Hi), uint64(h.NumGroups)} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = binary.AppendUvarint(dst, uint64(len(h.Tables)))
	for i := range h.Tables {
		t := &h.Tables[i]
		dst = append(dst, t.ID[:]...)
		dst = appendBytes(dst, []byte(t.Name))
		dst = append(dst, byte(t.Kind), byte(t.Redist))
		dst = binary.AppendUvarint(dst, uint64(t.Width))
	}
	dst = binary.AppendUvarint(dst, uint64(len(h.Files)))
	for i := range h.Files {
		f := &h.Files[i]
		dst = appendBytes(dst, []byte(f.Name))
		dst = binary.AppendUvarint(dst, uint64(f.Bytes))
		dst = binary.LittleEndian.AppendUint64(dst, f.Sum)
	}
	dst = appendBytes(dst, h.Inline)
	dst = binary.AppendUvarint(dst, uint64(h.Bytes))
	return binary.AppendUvarint(dst, uint64(h.New))
}

// DecodeHandle decodes a handle at the start of b and gives the rest. The
// handle shares no memory with b.
func DecodeHandle(b []byte) (h Handle, rest []byte, err error) {
	if len(b) == 0 {
		return h, nil, errHandle()
	}
	if b[0] != handleVersion {
		return h, nil, pgerr.Unsupported("a state handle of version %d (this server reads up to %d)", b[0], handleVersion)
	}
	d := decoder{b: b[1:]}
	h.Backend = string(d.bytes())
	h.Format = uint16(d.upTo(1<<16 - 1))
	h.Epoch = types.Epoch(d.uvarint())
	h.Groups.Lo, h.Groups.Hi, h.NumGroups = int(d.upTo(1<<16)), int(d.upTo(1<<16)), int(d.upTo(1<<16))
	if n := d.upTo(uint64(len(d.b) / 20)); n > 0 {
		h.Tables = make([]TableSpec, n)
	}
	for i := range h.Tables {
		t := &h.Tables[i]
		copy(t.ID[:], d.take(16))
		t.Name = string(d.bytes())
		t.Kind, t.Redist = Kind(d.byte()), Redistribution(d.byte())
		t.Width = int(d.upTo(1 << 24))
	}
	if n := d.upTo(uint64(len(d.b) / 10)); n > 0 {
		h.Files = make([]File, n)
	}
	for i := range h.Files {
		f := &h.Files[i]
		f.Name = string(d.bytes())
		f.Bytes = int64(d.upTo(1<<63 - 1))
		if s := d.take(8); s != nil {
			f.Sum = binary.LittleEndian.Uint64(s)
		}
	}
	if in := d.bytes(); len(in) > 0 {
		h.Inline = append([]byte{}, in...)
	}
	h.Bytes, h.New = int64(d.upTo(1<<63-1)), int64(d.upTo(1<<63-1))
	if d.bad || h.Groups.Lo > h.Groups.Hi {
		return Handle{}, nil, errHandle()
	}
	return h, d.b, nil
}

func errHandle() error { return pgerr.New(pgerr.DataCorrupted, "malformed state handle") }

// upTo reads a uvarint that must not exceed limit.
func (d *decoder) upTo(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.bad, d.b = true, nil
		return 0
	}
	return v
}

func (d *decoder) take(n int) []byte {
	if len(d.b) < n {
		d.bad, d.b = true, nil
		return nil
	}
	v := d.b[:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) byte() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}
