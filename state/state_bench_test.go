package state_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/state"
	"github.com/streamdb/streamdb/state/filesystem"
	"github.com/streamdb/streamdb/state/pebble"
	"github.com/streamdb/streamdb/types"
)

var big = flag.Bool("big", false, "benchmarks with 10M keys")

const benchRows = 1024

func open(tb testing.TB, b state.Backend, dir string, handles []state.Handle, ts ...state.TableSpec) *state.State {
	tb.Helper()
	for i := range ts {
		ts[i].ID[0] = byte(i + 1)
	}
	s, err := state.Open(context.Background(), b, state.Spec{
		NumGroups: types.KeyGroups, Groups: types.GroupRange{Hi: types.KeyGroups}, Tables: ts,
		FS: vfs.Default, Dir: dir + "/scratch", Root: dir + "/root", CacheBytes: 4 << 30,
	}, handles)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s
}

func int8Key(dst []byte, i int64) []byte { return types.AppendKeyDatum(dst, types.NewInt8(i)) }

// keyBatches are n batches of random keys among the first `keys`.
func keyBatches(n int, keys int64) []types.KeyBatch {
	r := rand.New(rand.NewPCG(1, 2))
	out := make([]types.KeyBatch, n)
	var buf []byte
	for i := range out {
		for range benchRows {
			buf = int8Key(buf[:0], r.Int64N(keys))
			out[i].Add(buf)
		}
	}
	return out
}

// fill creates the lines of all keys.
func fill(tb testing.TB, s *state.State, keys int64) {
	l := s.Lines(0)
	var k types.KeyBatch
	var buf []byte
	slots := make([]state.Slot, benchRows)
	for i := int64(0); i < keys; {
		k.Reset()
		for ; i < keys && k.Len() < benchRows; i++ {
			buf = int8Key(buf[:0], i)
			k.Add(buf)
		}
		if err := l.Resolve(&k, state.Create, slots); err != nil {
			tb.Fatal(err)
		}
		if i%(64*benchRows) == 0 {
			s.EndEpoch()
		}
	}
	s.EndEpoch()
}

// aggregate is the inner loop of count, sum, max over a batch.
func aggregate(l *state.Lines, k *types.KeyBatch, slots []state.Slot, rows [][]byte) error {
	if err := l.Resolve(k, state.Create, slots); err != nil {
		return err
	}
	l.MutableRows(slots, rows)
	for i, row := range rows {
		row = row[:24]
		le := binary.LittleEndian
		le.PutUint64(row, le.Uint64(row)+1)
		le.PutUint64(row[8:], le.Uint64(row[8:])+uint64(i))
		le.PutUint64(row[16:], max(le.Uint64(row[16:]), uint64(i)))
	}
	return nil
}

var aggSpec = state.TableSpec{Name: "agg", Kind: state.KindLines, Width: 24}

func BenchmarkLinesUpdate(b *testing.B) {
	for _, back := range []state.Backend{filesystem.New(), pebble.New()} {
		for _, keys := range []int64{10_000, 1_000_000, 10_000_000} {
			if keys > 1_000_000 && !*big {
				continue
			}
			b.Run(fmt.Sprint(back.Name(), "/", keys), func(b *testing.B) {
				s := open(b, back, b.TempDir(), nil, aggSpec)
				fill(b, s, keys)
				batches := keyBatches(512, keys)
				slots, rows := make([]state.Slot, benchRows), make([][]byte, benchRows)
				b.ReportAllocs()
				b.ResetTimer()
				for i := 0; i < b.N; i++ {
					if err := aggregate(s.Lines(0), &batches[i%512], slots, rows); err != nil {
						b.Fatal(err)
					}
					if i%64 == 63 {
						s.EndEpoch()
					}
				}
				b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds()/1e6, "Mrows/s")
			})
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkBag(b *testing.B) {
	s := open(b, filesystem.New(), b.TempDir(), nil, state.TableSpec{Kind: state.KindBag})
	bag := s.Bag(0)
	const keys = 300_000
	batches := keyBatches(1024, keys)
	images := make([]types.ByteBatch, len(batches))
	for i := range images {
		var im [25]byte
		for j := range benchRows {
			binary.LittleEndian.PutUint64(im[1:], uint64(i*benchRows+j))
			images[i].Add(im[:])
		}
	}
	b.Run("add", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			diff := slices.Repeat([]int32{1 - 2*int32(i>>10&1)}, benchRows) // all in, all out
			if err := bag.Add(&batches[i&1023], &images[i&1023], diff); err != nil {
				b.Fatal(err)
			}
			s.EndEpoch()
		}
		b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds()/1e6, "Mrows/s")
	})
	for i := range batches {
		bag.Add(&batches[i], &images[i], nil)
	}
	s.EndEpoch()
	b.Run("match", func(b *testing.B) {
		var m state.Matches
		rows := 0
		for i := 0; i < b.N; i++ {
			for more := true; more; more = m.More {
				if err := bag.Match(&batches[i&1023], &m); err != nil {
					b.Fatal(err)
				}
				rows += len(m.Key)
			}
		}
		b.ReportMetric(float64(rows)/b.Elapsed().Seconds()/1e6, "Mrows/s")
	})
}

func BenchmarkSorted(b *testing.B) {
	for _, keys := range []int64{1, 100_000} {
		b.Run(fmt.Sprint("keys=", keys), func(b *testing.B) {
			s := open(b, filesystem.New(), b.TempDir(), nil, state.TableSpec{Kind: state.KindSorted})
			o := s.Sorted(0)
			batches, ords := keyBatches(512, keys), keyBatches(1024, 1_000_000_000)[512:]
			var none types.ByteBatch
			for range benchRows {
				none.Add([]byte{0})
			}
			b.Run("add", func(b *testing.B) {
				for i := 0; i < b.N; i++ {
					if err := o.Add(&batches[i&511], &ords[i&511], &none, nil); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds()/1e6, "Mrows/s")
			})
			b.Run("first", func(b *testing.B) {
				var out types.ByteBatch
				found := make([]bool, benchRows)
				for i := 0; i < b.N; i++ {
					out.Reset()
					if err := o.First(&batches[i&511], false, &out, found); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds()/1e6, "Mrows/s")
			})
		})
	}
}

// BenchmarkCheckpoint freezes 1M lines of which all changed, uploads them
// while updates go on, and restores them.
func BenchmarkCheckpoint(b *testing.B) {
	const keys = 1_000_000
	for _, back := range []state.Backend{filesystem.New(), pebble.New()} {
		b.Run(back.Name(), func(b *testing.B) {
			dir := b.TempDir()
			s := open(b, back, dir, nil, aggSpec)
			fill(b, s, keys)
			batches := keyBatches(512, keys)
			slots, rows := make([]state.Slot, benchRows), make([][]byte, benchRows)
			var pause, upload, restore time.Duration
			var h state.Handle
			for i := 0; i < b.N; i++ {
				t := time.Now()
				f, err := s.Freeze(types.Epoch(i + 1))
				if err != nil {
					b.Fatal(err)
				}
				pause = max(pause, time.Since(t))
				t = time.Now()
				done := make(chan error)
				go func() {
					var err error
					h, err = f.Upload(context.Background(), state.Dest{FS: vfs.Default, Root: dir + "/root", Prefix: "b"})
					done <- err
				}()
				for n := 0; ; n++ {
					select {
					case err = <-done:
					default:
						if err := aggregate(s.Lines(0), &batches[n%512], slots, rows); err != nil {
							b.Fatal(err)
						}
						if n%64 == 63 {
							s.EndEpoch()
						}
						continue
					}
					break
				}
				if err != nil {
					b.Fatal(err)
				}
				upload += time.Since(t)
				t = time.Now()
				r := openAt(b, back, dir, h)
				restore += time.Since(t)
				if r.Lines(0).Len() != keys {
					b.Fatal("lost lines")
				}
				r.Close()
			}
			b.ReportMetric(float64(pause.Microseconds()), "pause-µs")
			b.ReportMetric(upload.Seconds()/float64(b.N)*1e3, "upload-ms")
			b.ReportMetric(restore.Seconds()/float64(b.N)*1e3, "restore-ms")
			b.ReportMetric(float64(h.Bytes)/keys, "file-B/key")
		})
	}
}

func openAt(tb testing.TB, b state.Backend, dir string, h state.Handle) *state.State {
	s, err := state.Open(context.Background(), b, state.Spec{
		NumGroups: types.KeyGroups, Groups: types.GroupRange{Hi: types.KeyGroups}, Tables: h.Tables,
		FS: vfs.Default, Dir: dir + "/scratch2", Root: dir + "/root", CacheBytes: 4 << 30,
	}, []state.Handle{h})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// BenchmarkCold updates random keys of a state five times its cache.
func BenchmarkCold(b *testing.B) {
	const keys = 1_000_000
	dir := b.TempDir()
	s, err := state.Open(context.Background(), pebble.New(), state.Spec{
		NumGroups: types.KeyGroups, Groups: types.GroupRange{Hi: types.KeyGroups}, Tables: []state.TableSpec{aggSpec},
		FS: vfs.Default, Dir: dir + "/scratch", Root: dir + "/root", CacheBytes: 16 << 20,
	}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	fill(b, s, keys)
	batches := keyBatches(512, keys)
	slots, rows := make([]state.Slot, benchRows), make([][]byte, benchRows)
	b.ResetTimer()
	for i := 0; i < b.N; i++ {
		if err := aggregate(s.Lines(0), &batches[i%512], slots, rows); err != nil {
			b.Fatal(err)
		}
		if i%16 == 15 {
			if err := s.EndEpoch(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds()/1e3, "Krows/s")
	b.ReportMetric(float64(heap())/1e6, "MB")
	b.Logf("%+v", s.Stats())
}
