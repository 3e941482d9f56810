package journal

import (
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/streamdb/streamdb/types"
)

// TestCrash crashes at random moments with any part of the unsynced blocks on
// the disk, some times over: what was synced is there, what is there is a
// prefix of what was appended, in whole appends, and it can be gone on with.
func TestCrash(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range 60 {
		crashRound(t, rng, round)
	}
}

func crashRound(t *testing.T, rng *rand.Rand, round int) {
	fs := vfs.NewCrashableMem()
	opts := Options{SegmentBytes: int64(1000 + rng.IntN(40_000))}
	var batches []int        // size of each append
	var ends []types.LSN     // and its end
	synced, appended := 0, 0 // batches
	for life := range 6 {
		opts.Durable = 0
		if synced > 0 && rng.IntN(2) == 0 {
			opts.Durable = ends[synced-1]
		}
		if err := Verify("j", fs); life > 0 && err != nil {
			t.Fatalf("round %d life %d: %v", round, life, err)
		}
		l, err := Open("j", fs, opts)
		if err != nil {
			t.Fatalf("round %d life %d: %v", round, life, err)
		}
		appended = checkPrefix(t, l, batches, ends)
		if appended < synced {
			t.Fatalf("round %d life %d: %d appends left, %d were synced", round, life, appended, synced)
		}
		batches, ends = batches[:appended], ends[:appended]
		synced = appended // Open made them durable
		for range rng.IntN(40) {
			n := 1 + rng.IntN(3)
			var rs []*Record
			for i := range n {
				r := ddl(100*len(batches) + i)
				if rng.IntN(4) == 0 {
					r.DDL.Delta = make([]byte, rng.IntN(9000)) // across blocks
				}
				rs = append(rs, r)
			}
			segs := len(l.segs)
			end := mustAppend(t, l, rs...)
			if len(l.segs) > segs {
				synced = len(batches) // a new segment syncs the one before
			}
			batches, ends = append(batches, n), append(ends, end)
			if rng.IntN(5) == 0 {
				mustDo(t, l.Sync(ctx))
				synced = len(batches)
			}
		}
		if rng.IntN(6) == 0 {
			mustDo(t, l.Close())
			return
		}
		fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 30, 70, 100}[rng.IntN(4)], RNG: rng})
	}
}

// checkPrefix reads all and gives how many appends are there.
func checkPrefix(t *testing.T, l *Log, batches []int, ends []types.LSN) int {
	t.Helper()
	r, err := l.Read(0)
	mustDo(t, err)
	defer r.Close()
	batch, i := 0, 0
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		mustDo(t, err)
		if batch >= len(batches) || int(rec.DDL.Version) != 100*batch+i {
			t.Fatalf("record %d of append %d is %d", i, batch, rec.DDL.Version)
		}
		if i++; i == batches[batch] {
			batch, i = batch+1, 0
		}
	}
	if i != 0 {
		t.Fatalf("append %d is there in part", batch)
	}
	if batch > 0 && ends[batch-1] != l.End() {
		t.Fatalf("%d appends end at %d, the journal at %d", batch, ends[batch-1], l.End())
	}
	return batch
}
