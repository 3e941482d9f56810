package types

import "testing"

// A format that was taken apart gives what FormatTimestamp gives, also when it
// is used again for another pattern, and when it has many steps.
func TestTimestampFormat(t *testing.T) {
	const ts = 12345678901234
	var f TimestampFormat
	for _, c := range []struct {
		pattern, want string
		daily         bool
	}{
		{"YYYY-MM-DD", "2000-05-22", true},
		{`Y"a\"b\\c" FMDD"`, `0a"b\c 22`, true},
		{"YYYY.MM.DD YYYY.MM.DD YYYY.MM.DD YYYY.MM.DD", "2000.05.22 2000.05.22 2000.05.22 2000.05.22", true},
		{"HH24:MI", "21:21", false},
		{"FMMonth AM", "May PM", false},
		{"", "", true},
	} {
		if err := f.Parse(c.pattern); err != nil {
			t.Fatalf("%q: %v", c.pattern, err)
		}
		if got := string(f.Append(nil, ts)); got != c.want || f.Daily() != c.daily {
			t.Errorf("%q: %q, daily %v", c.pattern, got, f.Daily())
		}
		if got, _ := FormatTimestamp(nil, ts, c.pattern); string(got) != c.want {
			t.Errorf("%q: FormatTimestamp gives %q", c.pattern, got)
		}
	}
	if DayOf(-1) != -1 || DayOf(0) != 0 || DayOf(ts) != 142 {
		t.Errorf("days %d %d %d", DayOf(-1), DayOf(0), DayOf(ts))
	}
}
