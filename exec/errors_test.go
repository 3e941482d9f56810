package exec

import (
	"fmt"
	"testing"

	"github.com/streamdb/streamdb/internal/pgerr"
)

func errorRow(op int, image string, diff int32) *ErrorRows {
	r := &ErrorRows{Op: op, Diff: []int32{diff}, Errs: []*pgerr.Error{pgerr.New(pgerr.DivisionByZero, "division by zero").At(3)}}
	r.Images.Add([]byte(image))
	return r
}

func TestErrorsCodec(t *testing.T) {
	d := newErrorDelta()
	d.add(errorRow(1, "a", 2))
	d.add(errorRow(1, "b", 1))
	d.add(errorRow(7, "a", -1))
	b := d.encode()
	back, err := decodeErrors(b)
	if err != nil || string(back.encode()) != string(b) {
		t.Fatalf("%v: %x, was %x", err, back.encode(), b)
	}
	for n := 1; n < len(b); n++ {
		if _, err := decodeErrors(b[:n]); !sameErr(err, pgerr.DataCorrupted) {
			t.Fatalf("%d bytes of %d: %v", n, len(b), err)
		}
	}
	if _, err := decodeErrors([]byte{9}); !sameErr(err, pgerr.DataCorrupted) {
		t.Fatalf("another format: %v", err)
	}
}

// TestErrorsBounded: past the bound rows are only counted, exactly, and
// nothing stays named once all have gone.
func TestErrorsBounded(t *testing.T) {
	all := newErrorDelta()
	for _, sign := range []int32{1, -1} {
		for e := range 4 {
			d := newErrorDelta()
			for i := range maxErrorRows / 2 {
				d.add(errorRow(1, fmt.Sprint(e, "/", i), sign))
			}
			all.merge(d)
		}
		named, total := all.list()
		if sign > 0 && (total != 2*maxErrorRows || len(named) != maxErrorRows) || sign < 0 && (total != 0 || len(named) != 0) {
			t.Fatalf("%d named of %d", len(named), total)
		}
	}
	if all.hidden || all.bytes != 0 || all.encode() != nil {
		t.Fatalf("left over: %+v", all)
	}
}
