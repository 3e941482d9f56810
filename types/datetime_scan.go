package types

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// scanKey is a field of to_timestamp's patterns.
type scanKey struct {
	text   string
	length int // of its digits, 0 for a word
}

// scanKeys are the fields, longer names before those that they begin with.
var scanKeys = []scanKey{
	{"A.D.", 0}, {"B.C.", 0}, {"A.M.", 0}, {"P.M.", 0}, {"AD", 0}, {"BC", 0}, {"AM", 0}, {"PM", 0},
	{"CC", 2}, {"DAY", 0}, {"DDD", 3}, {"DD", 2}, {"DY", 0}, {"D", 1},
	{"FF1", 1}, {"FF2", 2}, {"FF3", 3}, {"FF4", 4}, {"FF5", 5}, {"FF6", 6}, {"FX", 0}, {"FM", 0},
	{"HH24", 2}, {"HH12", 2}, {"HH", 2}, {"IDDD", 3}, {"ID", 1}, {"IW", 2}, {"IYYY", 4}, {"IYY", 3}, {"IY", 2}, {"I", 1},
	{"J", 7}, {"MI", 2}, {"MM", 2}, {"MONTH", 0}, {"MON", 0}, {"MS", 3}, {"OF", 0}, {"Q", 1}, {"RM", 0},
	{"SSSSS", 5}, {"SSSS", 5}, {"SS", 2}, {"TZH", 2}, {"TZM", 2}, {"TZ", 0}, {"US", 6}, {"WW", 2}, {"W", 1},
	{"Y,YYY", 4}, {"YYYY", 4}, {"YYY", 3}, {"YY", 2}, {"Y", 1},
}

// scanNode is a field, or a character.
type scanNode struct {
	key  *scanKey
	char string
	text string // the field as the pattern spells it
	th   bool
}

func (n *scanNode) separator() bool {
	c := n.char
	return n.key == nil && len(c) == 1 && c[0] > 0x20 && c[0] < 0x7f && !isDigit(c[0]) && !isLetter(c[0]|0x20)
}

func isSeparator(c byte) bool {
	return c > 0x20 && c < 0x7f && !isDigit(c) && !isLetter(c|0x20)
}

// scanPattern takes a pattern apart.
func scanPattern(p string) (nodes []scanNode) {
next:
	for p != "" {
		for i := range scanKeys {
			k := &scanKeys[i]
			if len(p) < len(k.text) || !strings.EqualFold(p[:len(k.text)], k.text) {
				continue
			}
			n := scanNode{key: k, text: p[:len(k.text)]}
			p = p[len(k.text):]
			if k.text == "FM" {
				continue next
			}
			if len(p) >= 2 && strings.EqualFold(p[:2], "TH") && k.length > 0 {
				n.th, p = true, p[2:]
			}
			nodes = append(nodes, n)
			continue next
		}
		if p[0] == '"' {
			for p = p[1:]; p != "" && p[0] != '"'; p = p[1:] {
				if p[0] == '\\' && len(p) > 1 {
					p = p[1:]
				}
				nodes = append(nodes, scanNode{char: "q" + p[:1]})
			}
			p = p[min(1, len(p)):]
			continue
		}
		if p[0] == '\\' && len(p) > 1 && p[1] == '"' {
			p = p[1:]
		}
		_, w := utf8.DecodeRuneInString(p)
		nodes = append(nodes, scanNode{char: p[:w]})
		p = p[w:]
	}
	return nodes
}

// scanner reads a text by a pattern.
type scanner struct {
	input, s string
	fx       bool
	v        map[string]int64 // by field
	pm, half bool
	bc       bool
	zoned    bool
	zoneNeg  bool
}

func errScan(input, field, detail string, args ...any) error {
	return pgerr.New(pgerr.InvalidDatetimeFormat, "invalid value \"%s\" for \"%s\"", input, field).WithDetail(detail, args...)
}

// ParseByFormat reads a timestamp by a pattern of to_timestamp. What has no
// field is that of 1 BC-01-01 00:00.
func ParseByFormat(input, pattern string) (int64, error) {
	nodes := scanPattern(pattern)
	sc := scanner{input: input, s: input, v: map[string]int64{}}
	extra := 0
	for i := range nodes {
		n := &nodes[i]
		if n.key != nil && n.key.text == "FX" {
			sc.fx = true
			continue
		}
		if sc.s == "" {
			break
		}
		if !sc.fx && (n.key != nil || n.separator() || n.char == " " || i == 0) {
			for sc.s != "" && isSpace(sc.s[0]) {
				sc.s = sc.s[1:]
				extra++
			}
		}
		switch {
		case n.key == nil && (n.char == " " || n.separator()):
			if sc.fx {
				sc.s = sc.s[min(1, len(sc.s)):]
				continue
			}
			extra--
			if sc.s != "" && (isSpace(sc.s[0]) || isSeparator(sc.s[0])) {
				sc.s = sc.s[1:]
				extra++
			}
			continue
		case n.key == nil:
			if !sc.fx && extra > 0 {
				extra--
			} else {
				_, w := utf8.DecodeRuneInString(sc.s)
				sc.s = sc.s[w:]
			}
			continue
		}
		if err := sc.field(n, i+1 < len(nodes) && !digitsFollow(nodes[i+1:]) || i+1 == len(nodes)); err != nil {
			return 0, err
		}
		if !sc.fx {
			extra = 0
			for sc.s != "" && isSpace(sc.s[0]) {
				sc.s = sc.s[1:]
				extra++
			}
		}
	}
	return sc.timestamp()
}

// digitsFollow reports whether the next field is of digits, so that this one
// has a fixed length.
func digitsFollow(nodes []scanNode) bool {
	n := &nodes[0]
	if n.key != nil {
		return n.key.length > 0
	}
	return len(n.char) == 1 && isDigit(n.char[0])
}

// integer reads a number: all digits that come if free, else length of them.
func (sc *scanner) integer(n *scanNode, free bool) error {
	for sc.s != "" && isSpace(sc.s[0]) {
		sc.s = sc.s[1:]
	}
	if sc.s == "" {
		return nil
	}
	length := n.key.length
	take, limit := 0, len(sc.s)
	if !free && !n.th && !sc.fx || sc.fx {
		limit = min(length, len(sc.s))
	}
	if take < limit && (sc.s[0] == '-' || sc.s[0] == '+') {
		take++
	}
	for take < limit && isDigit(sc.s[take]) {
		take++
	}
	text := sc.s[:take]
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		if strings.Trim(text, "+-") != "" {
			return pgerr.New(pgerr.DatetimeFieldOverflow, "value for \"%s\" in source string is out of range", n.text)
		}
		return errScan(sc.s[:min(length, len(sc.s))], n.text, "Value must be an integer.")
	}
	if limit == length && take < length && !free {
		if take < limit {
			return errScan(sc.s[:limit], n.text, "Field requires %d characters, but only %d could be parsed.", length, take)
		}
	}
	if v != int64(int32(v)) {
		return pgerr.New(pgerr.DatetimeFieldOverflow, "value for \"%s\" in source string is out of range", n.text).
			WithDetail("Value must be in the range %d to %d.", -1<<31, 1<<31-1)
	}
	sc.s = sc.s[take:]
	if n.th {
		sc.s = sc.s[min(2, len(sc.s)):]
	}
	key := n.key.text
	if key == "MS" || key == "US" || strings.HasPrefix(key, "FF") {
		for i := len(text); i < 6; i++ {
			v *= 10
		}
		for i := len(text); i > 6; i-- {
			v /= 10
		}
	}
	return sc.set(n, v)
}

func (sc *scanner) set(n *scanNode, v int64) error {
	key := n.key.text
	switch key {
	case "HH", "HH12":
		key, sc.half = "HH24", true
	case "YYY", "YY", "Y", "Y,YYY":
		if key != "Y,YYY" {
			v = partialYear(v)
		}
		key = "YYYY"
	case "IYY", "IY", "I":
		v, key = partialYear(v), "IYYY"
	case "SSSSS":
		key = "SSSS"
	case "MS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6":
		key = "US"
	case "Q", "CC":
		if key == "Q" {
			return nil
		}
	}
	if old, ok := sc.v[key]; ok && old != v {
		return pgerr.New(pgerr.InvalidDatetimeFormat, "conflicting values for \"%s\" field in formatting string", n.text).
			WithDetail("This value contradicts a previous setting for the same field type.")
	}
	sc.v[key] = v
	return nil
}

// partialYear makes a year of fewer than four digits one near 2020.
func partialYear(y int64) int64 {
	switch {
	case y < 0 || y >= 1000:
		return y
	case y < 70:
		return y + 2000
	case y < 100:
		return y + 1900
	case y < 520:
		return y + 2000
	}
	return y + 1000
}

// word takes the first of some words off the text, in any case.
func (sc *scanner) word(n *scanNode, words []string) (int, error) {
	for i, w := range words {
		if len(sc.s) >= len(w) && strings.EqualFold(sc.s[:len(w)], w) {
			sc.s = sc.s[len(w):]
			return i, nil
		}
	}
	end := strings.IndexFunc(sc.s, func(r rune) bool { return r == ' ' })
	if end < 0 {
		end = len(sc.s)
	}
	return 0, errScan(sc.s[:end], n.text, "The given value did not match any of the allowed values for this field.")
}

var romanMonths = []string{"XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"}

func (sc *scanner) field(n *scanNode, free bool) error {
	short := func(names []string) []string {
		out := make([]string, len(names))
		for i, w := range names {
			out[i] = w[:3]
		}
		return out
	}
	switch key := n.key.text; key {
	case "A.M.", "P.M.", "AM", "PM":
		words := []string{"AM", "PM"}
		if len(key) > 2 {
			words = []string{"A.M.", "P.M."}
		}
		i, err := sc.word(n, words)
		sc.pm, sc.half = i == 1, true
		return err
	case "A.D.", "B.C.", "AD", "BC":
		words := []string{"AD", "BC"}
		if len(key) > 2 {
			words = []string{"A.D.", "B.C."}
		}
		i, err := sc.word(n, words)
		sc.bc = i == 1
		return err
	case "MONTH", "MON":
		names := months[:]
		if key == "MON" {
			names = short(names)
		}
		i, err := sc.word(n, names)
		if err != nil {
			return err
		}
		sc.v["MM"] = int64(i) + 1
		return nil
	case "DAY", "DY":
		names := weekdays[:]
		if key == "DY" {
			names = short(names)
		}
		i, err := sc.word(n, names)
		if err == nil {
			sc.v["D"] = int64(i) + 1
		}
		return err
	case "RM":
		i, err := sc.word(n, romanMonths)
		if err == nil {
			sc.v["MM"] = 12 - int64(i)
		}
		return err
	case "TZ", "OF":
		return pgerr.New(pgerr.FeatureNotSupported, "formatting field \"%s\" is only supported in to_char", n.text)
	case "TZH":
		sc.zoned = true
		sc.zoneNeg = sc.s != "" && sc.s[0] == '-'
		if sc.s != "" && (sc.s[0] == '-' || sc.s[0] == '+' || sc.s[0] == ' ') {
			sc.s = sc.s[1:]
		}
	case "TZM":
		sc.zoned = true
	}
	return sc.integer(n, free)
}

func (sc *scanner) overflow() error {
	return pgerr.New(pgerr.DatetimeFieldOverflow, "date/time field value out of range: \"%s\"", sc.input)
}

// timestamp puts the fields together.
func (sc *scanner) timestamp() (int64, error) {
	day, err := sc.day()
	if err != nil {
		return 0, err
	}
	h, m, s := sc.v["HH24"], sc.v["MI"], sc.v["SS"]
	if ss, ok := sc.v["SSSS"]; ok {
		h, m, s = ss/3600, ss/60%60, ss%60
	}
	if sc.half {
		if _, ok := sc.v["HH24"]; ok && (h < 1 || h > 12) {
			return 0, pgerr.New(pgerr.InvalidDatetimeFormat, "hour \"%d\" is invalid for the 12-hour clock", h).
				WithHint("Use the 24-hour clock, or give an hour between 1 and 12.")
		}
		switch {
		case sc.pm && h < 12:
			h += 12
		case !sc.pm && h == 12: // without a half of the day too
			h = 0
		}
	}
	if h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 59 {
		return 0, sc.overflow()
	}
	us := sc.v["US"]
	t := day*microsPerDay + ((h*60+m)*60+s)*microsPerSecond + us
	if day < minDate || day > endTimestamp/microsPerDay {
		return 0, sc.overflow()
	}
	if sc.zoned {
		off := sc.v["TZH"]*3600 + sc.v["TZM"]*60
		if sc.v["TZH"] > 15 || sc.v["TZM"] < 0 || sc.v["TZM"] > 59 {
			return 0, sc.overflow()
		}
		if sc.zoneNeg {
			off = -off
		}
		t -= off * microsPerSecond
	}
	if !validTimestamp(t) {
		return 0, sc.overflow()
	}
	return t, nil
}

func (sc *scanner) day() (int64, error) {
	if j, ok := sc.v["J"]; ok {
		return j + minDate, nil
	}
	year, hasYear := sc.v["YYYY"]
	if cc, ok := sc.v["CC"]; ok && !hasYear {
		year = (cc-1)*100 + 1
	}
	if sc.bc && year > 0 {
		year = 1 - year
	} else if year < 0 { // 1 BC is 0
		year++
	}
	if iy, ok := sc.v["IYYY"]; ok {
		return sc.isoDay(iy)
	}
	if w, ok := sc.v["WW"]; ok && sc.v["MM"] == 0 {
		return DaysFromCivil(year, 1, 1) + (w-1)*7, nil
	}
	if ddd, ok := sc.v["DDD"]; ok && sc.v["MM"] == 0 && sc.v["DD"] == 0 {
		limit := int64(365)
		if leapYear(year) {
			limit = 366
		}
		if ddd < 1 || ddd > limit || !hasYear {
			return 0, sc.overflow()
		}
		return DaysFromCivil(year, 1, 1) + ddd - 1, nil
	}
	month, day := int64(1), int64(1)
	if v, ok := sc.v["MM"]; ok {
		month = v
	}
	if v, ok := sc.v["W"]; ok {
		day = (v-1)*7 + 1
	}
	if v, ok := sc.v["DD"]; ok {
		day = v
	}
	if month < 1 || month > 12 || day < 1 || year > 300000 || year < -5000 || int(day) > daysInMonth(year, int(month)) {
		return 0, sc.overflow()
	}
	return DaysFromCivil(year, int(month), int(day)), nil
}

func (sc *scanner) isoDay(year int64) (int64, error) {
	jan4 := DaysFromCivil(year, 1, 4)
	monday := jan4 - (weekday(jan4)+6)%7
	if d, ok := sc.v["IDDD"]; ok {
		return monday + d - 1, nil
	}
	week, day := int64(1), int64(1)
	if v, ok := sc.v["IW"]; ok {
		week = v
	}
	if v, ok := sc.v["ID"]; ok {
		day = v
	}
	return monday + (week-1)*7 + day - 1, nil
}
