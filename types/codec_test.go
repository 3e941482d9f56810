package types

import (
	"bytes"
	"math"
	"testing"

	"pgregory.net/rapid"
)

var allKinds = []Kind{Bool, Int4, Int8, Float8, Numeric, Text, Date, Timestamp, Timestamptz, Interval,
	Int2, Float4, Varchar, Bpchar, Bytea, Time, Timetz, Uuid, Name, Oid, Char, Jsonb, ArrayOf(Int4), ArrayOf(Text), ArrayOf(Numeric), ArrayOf(Uuid)}

func genNum() *rapid.Generator[Num] {
	return rapid.Custom(func(t *rapid.T) Num {
		switch rapid.IntRange(0, 12).Draw(t, "class") {
		case 0:
			return Num{Kind: NumKind(rapid.IntRange(1, 3).Draw(t, "special"))}
		case 1:
			return Num{Scale: int32(rapid.IntRange(0, 70).Draw(t, "scale"))}
		}
		s := rapid.StringMatching(`-?[0-9]{1,3}0{0,4}|-?[0-9]{1,60}`).Draw(t, "digits")
		n, err := ParseNumeric(s)
		if err != nil {
			t.Fatal(err)
		}
		n.Scale = int32(rapid.OneOf(rapid.IntRange(0, 4), rapid.IntRange(0, 80)).Draw(t, "scale"))
		return n
	})
}

func genDatum(k Kind) *rapid.Generator[Datum] {
	return rapid.Custom(func(t *rapid.T) Datum {
		d := Datum{Type: T(k)}
		if rapid.IntRange(0, 9).Draw(t, "null") == 0 {
			d.Null = true
			return d
		}
		small := rapid.Int64Range(-3, 3)
		if elem, ok := k.Elem(); ok {
			a := NewArray(elem, rapid.SliceOfN(genDatum(elem), 0, 3).Draw(t, "items"))
			if len(a.Items) > 0 {
				a.Lower[0] = rapid.IntRange(0, 2).Draw(t, "lower")
			}
			d.B = a.Append(nil)
			return d
		}
		switch k {
		case Bool:
			d.I = rapid.Int64Range(0, 1).Draw(t, "b")
		case Int4:
			d.I = rapid.OneOf(small, rapid.Int64Range(math.MinInt32, math.MaxInt32)).Draw(t, "i")
		case Date:
			d.I = rapid.OneOf(small, rapid.Int64Range(minDate, endDate-1), rapid.SampledFrom([]int64{DateNegInf, DatePosInf})).Draw(t, "d")
		case Timestamp, Timestamptz:
			d.I = rapid.OneOf(small, rapid.Int64Range(minTimestamp, endTimestamp-1),
				rapid.SampledFrom([]int64{TimestampNegInf, TimestampPosInf})).Draw(t, "t")
		case Int8:
			d.I = rapid.OneOf(small, rapid.Int64()).Draw(t, "i")
		case Float8:
			d.F = rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, -1,
				math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64})).Draw(t, "f")
		case Int2:
			d.I = rapid.OneOf(small, rapid.Int64Range(math.MinInt16, math.MaxInt16)).Draw(t, "i")
		case Oid:
			d.I = rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, math.MaxUint32)).Draw(t, "i")
		case Float4:
			d.F = float64(rapid.OneOf(rapid.Float32(), rapid.SampledFrom([]float32{0, float32(math.Copysign(0, -1)), 1e6, 16777216, math.MaxFloat32})).Draw(t, "f"))
		case Time:
			d.I = rapid.Int64Range(0, microsPerDay).Draw(t, "t")
		case Timetz:
			d.Iv = IntervalValue{Micros: rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64Range(0, microsPerDay)).Draw(t, "t"), Months: rapid.Int32Range(-57599, 57599).Draw(t, "z")}
		case Uuid:
			d.B = rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "u")
		case Bytea:
			d.B = rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom([]byte{0, 1, 255}), rapid.Byte()), 0, 5).Draw(t, "b")
		case Char:
			d.B = []byte(rapid.StringMatching(`[a-c]?`).Draw(t, "c"))
		case Bpchar:
			d.B = []byte(rapid.StringMatching(`[ab]{0,2} {0,2}`).Draw(t, "s"))
		case Jsonb:
			v := genJSON(2).Draw(t, "json")
			d.B = v.Append(nil)
		case Interval:
			i32 := rapid.OneOf(rapid.Int32Range(-2, 2), rapid.Int32())
			us := rapid.OneOf(rapid.SampledFrom([]int64{0, microsPerDay, -microsPerDay, 30 * microsPerDay, math.MaxInt64, math.MinInt64}), rapid.Int64())
			d.Iv = IntervalValue{Months: i32.Draw(t, "mon"), Days: i32.Draw(t, "day"), Micros: us.Draw(t, "us")}
		case Numeric:
			d.B = genNum().Draw(t, "n").Append(nil)
		default:
			d.B = []byte(rapid.StringMatching(`[a-c]{0,3}|[\x01-\x{10ffff}]{0,12}`).Draw(t, "s"))
		}
		return d
	})
}

// genJSON makes values with many ties.
func genJSON(depth int) *rapid.Generator[JSON] {
	return rapid.Custom(func(t *rapid.T) JSON {
		switch c := rapid.IntRange(0, 4+min(depth, 2)).Draw(t, "kind"); c {
		case 0:
			return JSON{}
		case 1:
			return JSON{Kind: JSONBool, Bool: rapid.Bool().Draw(t, "b")}
		case 2, 3:
			return JSON{Kind: JSONNumber, Text: []byte(rapid.SampledFrom([]string{"0", "1", "1.0", "-2.50", "100"}).Draw(t, "n"))}
		case 4:
			return JSON{Kind: JSONString, Text: []byte(rapid.StringMatching(`[a-b\"\n]{0,2}`).Draw(t, "s"))}
		default:
			v := JSON{Kind: JSONArray}
			if c == 6 {
				v.Kind = JSONObject
			}
			for range rapid.IntRange(0, 2).Draw(t, "len") {
				v.Items = append(v.Items, genJSON(depth-1).Draw(t, "item"))
				v.Keys = append(v.Keys, rapid.StringMatching(`[a-b]{0,2}`).Draw(t, "key"))
			}
			if v.Kind == JSONObject {
				v.sortKeys()
			} else {
				v.Keys = nil
			}
			return v
		}
	})
}

func sign(i int) int {
	switch {
	case i < 0:
		return -1
	case i > 0:
		return 1
	}
	return 0
}

func vecOf(d Datum) *Vec {
	v := &Vec{Type: d.Type}
	v.Append(d)
	return v
}

// The order encoding must agree with the comparison of values, in each
// direction and with each place of NULLs, and delimit itself.
func TestOrderAgreesWithCompare(t *testing.T) {
	for _, k := range allKinds {
		t.Run(k.String(), rapid.MakeCheck(func(t *rapid.T) {
			a, b := genDatum(k).Draw(t, "a"), genDatum(k).Draw(t, "b")
			want := CompareDatum(a, b)
			if want != -CompareDatum(b, a) {
				t.Fatalf("compare is not antisymmetric: %v %v", a, b)
			}
			ka, kb := AppendKey(nil, vecOf(a), 0), AppendKey(nil, vecOf(b), 0)
			if got := bytes.Compare(ka, kb); got != want {
				t.Fatalf("%v, %v: keys %x, %x compare %d, values %d", a, b, ka, kb, got, want)
			}
			if !bytes.Equal(ka, AppendKeyDatum(nil, a)) {
				t.Fatalf("%v: datum and vector differ", a)
			}
			if want != 0 && (bytes.HasPrefix(ka, kb) || bytes.HasPrefix(kb, ka)) {
				t.Fatalf("%v, %v: one key begins the other", a, b)
			}
			for _, o := range []OrderSpec{{Desc: true}, {NullsFirst: true}, {Desc: true, NullsFirst: true}} {
				w := want
				switch {
				case a.Null != b.Null:
					w = 1
					if a.Null == o.NullsFirst {
						w = -1
					}
				case o.Desc:
					w = -want
				}
				oa, ob := AppendOrder(nil, vecOf(a), 0, o), AppendOrder(nil, vecOf(b), 0, o)
				if got := bytes.Compare(oa, ob); got != w {
					t.Fatalf("%v, %v under %+v: %d, want %d", a, b, o, got, w)
				}
				if !bytes.Equal(oa, AppendOrderDatum(nil, a, o)) {
					t.Fatalf("%v: datum and vector differ", a)
				}
			}
		}))
	}
}

// equalRow compares exactly, NaNs being equal.
func equalRow(a, b []Datum) bool {
	for i := range a {
		if !DatumEqualImage(a[i], b[i]) {
			return false
		}
	}
	return true
}

func genChunk(t *rapid.T) *Chunk {
	kinds := rapid.SliceOfN(rapid.SampledFrom(allKinds), 0, 10).Draw(t, "kinds")
	ts := make([]Type, len(kinds))
	for i, k := range kinds {
		ts[i] = T(k)
	}
	c := NewChunk(ts)
	n := rapid.IntRange(0, 20).Draw(t, "rows")
	diff := rapid.SampledFrom([]func() int32{
		func() int32 { return 1 },
		func() int32 { return rapid.SampledFrom([]int32{-1, 1, 7, -128}).Draw(t, "diff") },
		func() int32 { return rapid.SampledFrom([]int32{-1, 128, math.MinInt32}).Draw(t, "diff") },
	}).Draw(t, "diffs")
	for r := 0; r < n; r++ {
		row := make([]Datum, len(kinds))
		for i, k := range kinds {
			row[i] = genDatum(k).Draw(t, "v")
		}
		c.AppendRow(diff(), row...)
	}
	if n > 0 && rapid.Bool().Draw(t, "select") {
		c.Sel = []uint16{}
		for r := 0; r < n; r++ {
			if rapid.Bool().Draw(t, "sel") {
				c.Sel = append(c.Sel, uint16(r))
			}
		}
	}
	return c
}

func rowOf(c *Chunk, r int) []Datum {
	row := make([]Datum, len(c.Cols))
	for i := range c.Cols {
		row[i] = c.Cols[i].Datum(r)
	}
	return row
}

func typesOf(c *Chunk) []Type {
	ts := make([]Type, len(c.Cols))
	for i := range c.Cols {
		ts[i] = c.Cols[i].Type
	}
	return ts
}

func TestImageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genChunk(t)
		var b ByteBatch
		b.EncodeImages(c, nil)
		out := NewChunk(typesOf(c))
		for k := 0; k < b.Len(); k++ {
			if err := DecodeImage(b.Bytes(k), out.Cols); err != nil {
				t.Fatal(err)
			}
			if got, want := rowOf(out, k), rowOf(c, c.Row(k)); !equalRow(got, want) {
				t.Fatalf("row %d: %v, want %v", k, got, want)
			}
			if len(c.Cols) > 0 {
				one := AppendImage(nil, c, c.Row(k), []int{len(c.Cols) - 1})
				if d := c.Cols[len(c.Cols)-1].Datum(c.Row(k)); !ImageEqual(one, AppendImageDatum(nil, d)) {
					t.Fatalf("%v: datum and chunk differ", d)
				}
			}
		}
		// Cut short or too long, it is refused and leaves the vectors alone.
		for k := 0; k < b.Len() && len(c.Cols) > 0; k++ {
			img := b.Bytes(k)
			for _, bad := range [][]byte{img[:len(img)-1], append(append([]byte{}, img...), 0)} {
				if DecodeImage(bad, out.Cols) == nil {
					t.Fatalf("accepted %x", bad)
				}
				for i := range out.Cols {
					if out.Cols[i].Len() != b.Len() {
						t.Fatalf("column %d changed", i)
					}
				}
			}
		}
	})
}

func TestChunkRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := genChunk(t)
		enc := EncodeChunk([]byte("head"), c)
		got, rest, err := DecodeChunk(append(enc[4:len(enc):len(enc)], "tail"...), typesOf(c))
		if err != nil || string(rest) != "tail" {
			t.Fatalf("rest %q: %v", rest, err)
		}
		if err := got.Check(); err != nil {
			t.Fatal(err)
		}
		if got.Rows() != c.Rows() {
			t.Fatalf("%d rows, want %d", got.Rows(), c.Rows())
		}
		for k := 0; k < c.Rows(); k++ {
			if r := c.Row(k); got.DiffAt(k) != c.DiffAt(r) || !equalRow(rowOf(got, k), rowOf(c, r)) {
				t.Fatalf("row %d: %d %v, want %d %v", k, got.DiffAt(k), rowOf(got, k), c.DiffAt(r), rowOf(c, r))
			}
		}
		if again := EncodeChunk(nil, got); !bytes.Equal(again, enc[4:]) {
			t.Fatalf("encodes to %x, then %x", enc[4:], again)
		}
	})
}

func TestTextRoundTrip(t *testing.T) {
	for _, k := range allKinds {
		t.Run(k.String(), rapid.MakeCheck(func(t *rapid.T) {
			d := genDatum(k).Draw(t, "d")
			if d.Null {
				return
			}
			if k == Interval && (d.Iv.Micros == math.MinInt64 || d.Iv.Months%12 == 0 && d.Iv.Months/12 > 1<<27) {
				return
			}
			got, err := ParseText(d.Type, d.String())
			if err != nil || !DatumEqualImage(got, d) {
				t.Fatalf("%q gives %v: %v", d.String(), got, err)
			}
			if s := string(vecOf(d).AppendText(nil, 0)); s != d.String() {
				t.Fatalf("vector prints %q, datum %q", s, d.String())
			}
		}))
	}
}

func TestBinaryRoundTrip(t *testing.T) {
	for _, k := range allKinds {
		t.Run(k.String(), rapid.MakeCheck(func(t *rapid.T) {
			d := genDatum(k).Draw(t, "d")
			if d.Null {
				return
			}
			b := AppendBinary(nil, d)
			got, err := ParseBinary(d.Type, b)
			if err != nil || !DatumEqualImage(got, d) {
				t.Fatalf("%v: %x gives %v: %v", d, b, got, err)
			}
		}))
	}
}

func fuzzTypes() []Type {
	ts := make([]Type, len(allKinds[:10]))
	for i, k := range allKinds[:10] {
		ts[i] = T(k)
	}
	return ts
}

func fuzzChunk() *Chunk {
	c := NewChunk(fuzzTypes())
	n := DecodeNumeric(nil)
	row := []Datum{NewBool(true), NewInt4(-5), NewInt8(1 << 40), NewFloat8(1.5), n.Datum(), NewText("abc"),
		{Type: T(Date), I: 1}, {Type: T(Timestamp), I: 2}, {Type: T(Timestamptz), I: 3}, {Type: T(Interval), Iv: IntervalValue{1, 2, 3}}}
	c.AppendRow(1, row...)
	for i := range row {
		row[i] = NullOf(row[i].Type)
	}
	c.AppendRow(-1, row...)
	return c
}

func FuzzDecodeImage(f *testing.F) {
	c := fuzzChunk()
	f.Add(AppendImage(nil, c, 0, nil))
	f.Add(AppendImage(nil, c, 1, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := NewChunk(fuzzTypes())
		if DecodeImage(b, c.Cols) != nil {
			return
		}
		c.N = 1
		if again := AppendImage(nil, c, 0, nil); !bytes.Equal(again, b) && c.Cols[3].F64[0] == c.Cols[3].F64[0] {
			t.Fatalf("%x reads, and writes %x", b, again)
		}
		for i := range c.Cols {
			_ = AppendKey(nil, &c.Cols[i], 0)
			_ = c.Cols[i].AppendText(nil, 0)
		}
	})
}

func FuzzDecodeChunk(f *testing.F) {
	f.Add(EncodeChunk(nil, fuzzChunk()))
	f.Add([]byte{0xff, 0x1f, 10, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, _, err := DecodeChunk(b, fuzzTypes())
		if err != nil {
			return
		}
		if err := c.Check(); err != nil {
			t.Fatal(err)
		}
		for k := 0; k < c.Rows(); k++ {
			_ = AppendImage(nil, c, k, nil)
		}
	})
}

func FuzzParseBinary(f *testing.F) {
	c := fuzzChunk()
	for i := range c.Cols {
		f.Add(byte(i), AppendBinary(nil, c.Cols[i].Datum(0)))
	}
	f.Fuzz(func(t *testing.T, k byte, b []byte) {
		d, err := ParseBinary(T(allKinds[int(k)%len(allKinds)]), b)
		if err == nil {
			_ = d.String()
			_ = AppendKeyDatum(nil, d)
		}
	})
}

func FuzzParseText(f *testing.F) {
	for i, s := range []string{"t", "12", "-9", "1e10", "1.50", "x", "2001-01-03", "Jan 3 2001 4:05 pm", "2001-01-03T04:05:06+02",
		"1 year 2 mons 3 days 04:05:06.7 ago", "P1Y2M3DT4H5M6S", "20010103T040506", "1/3/2001 America/New_York"} {
		f.Add(byte(i), s)
	}
	f.Fuzz(func(t *testing.T, k byte, s string) {
		typ := T(allKinds[int(k)%len(allKinds)])
		d, err := ParseText(typ, s)
		if err != nil {
			return
		}
		again, err := ParseText(typ, d.String())
		if err != nil || !DatumEqualImage(d, again) {
			t.Fatalf("%q reads as %q, which reads as %v: %v", s, d, again, err)
		}
	})
}

func benchChunk() *Chunk {
	c := NewChunk([]Type{T(Int8), T(Text), T(Timestamp), T(Numeric)})
	for i := range 1024 {
		c.AppendRow(1, NewInt8(int64(i)*7919), NewText("channel-"+itoa(i)), Datum{Type: T(Timestamp), I: int64(i)}, NumFromInt64(int64(i)).Datum())
	}
	c.Diff = nil
	return c
}

func benchColumns(b *testing.B, cols ...int) {
	c := benchChunk()
	var k KeyBatch
	b.ReportAllocs()
	for b.Loop() {
		k.Encode(c, cols)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/row")
}

func BenchmarkKeyInt8(b *testing.B)    { benchColumns(b, 0) }
func BenchmarkKeyText(b *testing.B)    { benchColumns(b, 1) }
func BenchmarkKeyNumeric(b *testing.B) { benchColumns(b, 3) }

func BenchmarkImage(b *testing.B) {
	c := benchChunk()
	var s ByteBatch
	b.ReportAllocs()
	for b.Loop() {
		s.EncodeImages(c, nil)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/row")
}

func BenchmarkEncodeChunk(b *testing.B) {
	c := benchChunk()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = EncodeChunk(dst[:0], c)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/row")
}

func BenchmarkDecodeChunk(b *testing.B) {
	enc := EncodeChunk(nil, benchChunk())
	ts := []Type{T(Int8), T(Text), T(Timestamp), T(Numeric)}
	for b.Loop() {
		if _, _, err := DecodeChunk(enc, ts); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/row")
}
