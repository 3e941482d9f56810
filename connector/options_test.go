package connector

import (
	"strings"
	"testing"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

func TestOptions(t *testing.T) {
	read := func(m map[string]string) error {
		o := NewOptions("c", m)
		o.Int("n", 1, 0, 10)
		o.Bool("b", false)
		o.Enum("e", "x", "x", "y")
		o.Text("t", "path")
		o.Delimiter(',')
		return o.Err()
	}
	if err := read(map[string]string{"connector": "c", "t": "v", "n": " 10 ", "b": "ON", "e": "Y", "delimiter": ";"}); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"n": "11", "b": "?", "e": "z", "t": "", "delimiter": "a", "unknown": "1"} {
		err := read(map[string]string{"t": "v", name: value})
		if pgerr.CodeOf(err) != pgerr.InvalidParameterValue || !strings.Contains(err.Error(), `"`+name+`"`) || pgerr.From(err).Hint == "" {
			t.Errorf("%s = %q: %v", name, value, err)
		}
	}
}

func TestSetNulls(t *testing.T) {
	for _, n := range []int{1, 63, 64, 65, 4096} {
		var v types.Vec
		v.Resize(types.T(types.Text), n)
		SetNulls(&v, n)
		for i := range len(v.Nulls) * 64 {
			if v.Nulls.Get(i) != (i < n) {
				t.Fatalf("%d rows: row %d", n, i)
			}
		}
	}
}
