package types

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// formatToken is one pattern of to_char.
type formatToken uint8

const (
	tokYYYY formatToken = iota
	tokYYY
	tokYY
	tokY
	tokMM
	tokDD
	tokDDD
	tokD
	tokID
	tokHH24
	tokHH12
	tokMI
	tokSS
	tokMS
	tokUS
	tokQ
	tokCC
	tokWW
	tokIW
	tokIYYY
	tokMonth
	tokMon
	tokDay
	tokDy
	tokAM
	tokText // not a field: text as it is
)

// withinDay reports whether a field may differ within a day.
func (t formatToken) withinDay() bool {
	switch t {
	case tokHH24, tokHH12, tokMI, tokSS, tokMS, tokUS, tokAM:
		return true
	}
	return false
}

// formatTokens are the patterns, longest first where one begins another.
// Names come in three cases, which the output follows.
var formatTokens = [...]struct {
	text string
	tok  formatToken
	any  bool // lower case means the same
}{
	{"YYYY", tokYYYY, true}, {"YYY", tokYYY, true}, {"YY", tokYY, true}, {"Y", tokY, true},
	{"MONTH", tokMonth, false}, {"Month", tokMonth, false}, {"month", tokMonth, false},
	{"MON", tokMon, false}, {"Mon", tokMon, false}, {"mon", tokMon, false},
	{"DAY", tokDay, false}, {"Day", tokDay, false}, {"day", tokDay, false},
	{"DY", tokDy, false}, {"Dy", tokDy, false}, {"dy", tokDy, false},
	{"MM", tokMM, true}, {"MI", tokMI, true}, {"MS", tokMS, true},
	{"DDD", tokDDD, true}, {"DD", tokDD, true}, {"D", tokD, true},
	{"HH24", tokHH24, true}, {"HH12", tokHH12, true}, {"HH", tokHH12, true},
	{"SS", tokSS, true}, {"US", tokUS, true}, {"Q", tokQ, true}, {"CC", tokCC, true},
	{"WW", tokWW, true}, {"IYYY", tokIYYY, true}, {"IW", tokIW, true}, {"ID", tokID, true},
	{"AM", tokAM, false}, {"PM", tokAM, false}, {"am", tokAM, false}, {"pm", tokAM, false},
}

var monthTitles = [...]string{"January", "February", "March", "April", "May", "June",
	"July", "August", "September", "October", "November", "December"}

var dayTitles = [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}

// FormatTimestamp appends a timestamp (µs since 2000-01-01, as the clock
// shows it) by a pattern of to_char: YYYY YYY YY Y IYYY MM DD DDD D ID HH24 HH12 HH MI SS
// MS US Q CC WW IW AM PM and the names Month Mon Day Dy in three cases, with
// FM before one to leave out its padding. Text stands in double quotes;
// other letters are refused with 0A000. ±infinity appends nothing.
// It does not allocate.
func FormatTimestamp(dst []byte, t int64, pattern string) ([]byte, error) {
	if !TimestampFinite(t) {
		return dst, nil
	}
	var f TimestampFormat
	if err := f.Parse(pattern); err != nil {
		return dst, err
	}
	return f.Append(dst, t), nil
}

// TimestampFormat is a pattern of to_char taken apart, to be used for many
// timestamps. The zero value is the empty pattern.
type TimestampFormat struct {
	few   [16]formatStep // the first steps
	more  []formatStep   // the others
	n     int
	daily bool
}

// formatStep appends a field, or text as it is (tokText).
type formatStep struct {
	tok  formatToken
	fill bool
	text string // of the pattern
}

// Parse takes a pattern apart, as FormatTimestamp describes them. The pattern
// must stay as it is while the format is used.
func (f *TimestampFormat) Parse(pattern string) error {
	f.n, f.more, f.daily = 0, f.more[:0], true
	for pattern != "" {
		c := pattern[0]
		switch {
		case c == '"':
			pattern = f.quoted(pattern[1:])
			continue
		case !isLetter(c | 0x20):
			f.literal(pattern[:1])
			pattern = pattern[1:]
			continue
		}
		rest, fill := pattern, true
		if len(rest) > 2 && strings.EqualFold(rest[:2], "FM") {
			rest, fill = rest[2:], false
		}
		tok, text, ok := matchToken(rest)
		if !ok {
			return errPattern(pattern)
		}
		rest = rest[len(text):]
		if len(rest) >= 2 && (strings.EqualFold(rest[:2], "TH") || rest[:2] == "SP" || rest[:2] == "TM") {
			return errPattern(rest)
		}
		f.daily = f.daily && !tok.withinDay()
		f.add(formatStep{tok, fill, text})
		pattern = rest
	}
	return nil
}

func (f *TimestampFormat) add(s formatStep) {
	if f.n < len(f.few) {
		f.few[f.n] = s
	} else {
		f.more = append(f.more, s)
	}
	f.n++
}

func (f *TimestampFormat) literal(s string) {
	if s != "" {
		f.add(formatStep{tok: tokText, text: s})
	}
}

// quoted takes text up to the closing quote, a backslash taking the next
// character as it is, and gives what follows.
func (f *TimestampFormat) quoted(s string) string {
	i := 0
	for i < len(s) && s[i] != '"' {
		if s[i] == '\\' && i+1 < len(s) {
			f.literal(s[:i])
			s, i = s[i+1:], 0
		}
		i++
	}
	f.literal(s[:i])
	return s[min(i+1, len(s)):]
}

// Daily reports whether all instants of a day look the same.
func (f *TimestampFormat) Daily() bool { return f.daily }

// Append appends a finite timestamp.
func (f *TimestampFormat) Append(dst []byte, t int64) []byte {
	var x formatter
	x.set(t)
	for i := range min(f.n, len(f.few)) {
		dst = x.step(dst, &f.few[i])
	}
	for i := range f.more {
		dst = x.step(dst, &f.more[i])
	}
	return dst
}

// DayOf gives the number of a timestamp's day, 2000-01-01 being 0.
func DayOf(t int64) int64 {
	day, _ := floorDiv(t, microsPerDay)
	return day
}

func errPattern(pattern string) error {
	i := 0
	for i < len(pattern) && isLetter(pattern[i]|0x20) {
		i++
	}
	return pgerr.Unsupported("format pattern \"%s\"", pattern[:i]).
		WithHint("Put text that is to appear as it is in double quotes.")
}

func matchToken(s string) (formatToken, string, bool) {
	for i := range formatTokens {
		t := &formatTokens[i]
		if len(s) < len(t.text) {
			continue
		}
		p := s[:len(t.text)]
		if p == t.text || t.any && strings.EqualFold(p, t.text) {
			return t.tok, p, true
		}
	}
	return 0, "", false
}

// formatter is a timestamp taken apart.
type formatter struct {
	days, tod  int64
	year       int64
	month, day int
}

func (f *formatter) set(t int64) {
	f.days, f.tod = floorDiv(t, microsPerDay)
	f.year, f.month, f.day = CivilFromDays(f.days)
}

func (f *formatter) step(dst []byte, s *formatStep) []byte {
	if s.tok == tokText {
		return append(dst, s.text...)
	}
	return f.append(dst, s.tok, s.text, s.fill)
}

func (f *formatter) append(dst []byte, tok formatToken, text string, fill bool) []byte {
	width := func(n int) int {
		if fill {
			return n
		}
		return 1
	}
	switch tok {
	case tokMonth:
		return appendName(dst, monthTitles[f.month-1], text, 9, fill)
	case tokMon:
		return appendName(dst, monthTitles[f.month-1][:3], text, 3, fill)
	case tokDay:
		return appendName(dst, dayTitles[weekday(f.days)], text, 9, fill)
	case tokDy:
		return appendName(dst, dayTitles[weekday(f.days)][:3], text, 3, fill)
	case tokAM:
		half := byte('A')
		if f.tod >= 12*microsPerHour {
			half = 'P'
		}
		lower := text[0] & 0x20
		return append(dst, half|lower, 'M'|lower)
	case tokCC:
		return appendSigned(dst, dateField(FieldCentury, f.days), width(2))
	case tokMS:
		return appendUint(dst, uint64(f.tod%microsPerSecond/1000), 3)
	case tokUS:
		return appendUint(dst, uint64(f.tod%microsPerSecond), 6)
	case tokQ, tokD, tokID:
		return appendUint(dst, uint64(f.number(tok)), 1)
	case tokYYYY, tokIYYY:
		return appendUint(dst, uint64(f.number(tok)), width(4))
	case tokYYY, tokDDD:
		return appendUint(dst, uint64(f.number(tok)), width(3))
	case tokY:
		return appendUint(dst, uint64(f.number(tok)), 1)
	}
	return appendUint(dst, uint64(f.number(tok)), width(2))
}

// number gives a field that is shown as a number without a sign.
func (f *formatter) number(tok formatToken) int64 {
	year := f.year
	if year <= 0 {
		year = 1 - year
	}
	switch tok {
	case tokYYYY:
		return year
	case tokYYY:
		return year % 1000
	case tokYY:
		return year % 100
	case tokY:
		return year % 10
	case tokMM:
		return int64(f.month)
	case tokDD:
		return int64(f.day)
	case tokDDD:
		return dateField(FieldDoy, f.days)
	case tokD:
		return weekday(f.days) + 1
	case tokID:
		return dateField(FieldISODow, f.days)
	case tokHH24:
		return f.tod / microsPerHour
	case tokHH12:
		return (f.tod/microsPerHour+11)%12 + 1
	case tokMI:
		return f.tod / microsPerMinute % 60
	case tokSS:
		return f.tod / microsPerSecond % 60
	case tokQ:
		return dateField(FieldQuarter, f.days)
	case tokWW:
		return (dateField(FieldDoy, f.days)-1)/7 + 1
	case tokIW:
		return dateField(FieldWeek, f.days)
	}
	y := dateField(FieldISOYear, f.days)
	return max(y, -y)
}

func appendSigned(dst []byte, i int64, width int) []byte {
	if i < 0 {
		return appendUint(append(dst, '-'), uint64(-i), width)
	}
	return appendUint(dst, uint64(i), width)
}

// appendName appends a name in the case of its pattern, padded to width.
func appendName(dst []byte, name, pattern string, width int, fill bool) []byte {
	lower := isLetter(pattern[0])
	upper := !lower && !isLetter(pattern[1])
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case lower:
			c |= 0x20
		case upper:
			c &^= 0x20
		}
		dst = append(dst, c)
	}
	for i := len(name); fill && i < width; i++ {
		dst = append(dst, ' ')
	}
	return dst
}
