package types

import "strings"

// isoParts reads what follows the P of an ISO 8601 interval: a date and behind
// T a time, each with designators (1Y2M, 4H5M) or in the alternative form
// (0001-02-03 or 00010203, 04:05:06 or 040506).
func (p *intervalParser) isoParts(s string) bool {
	date, clock, timed := strings.Cut(s, "t")
	var ok bool
	switch {
	case date == "":
		ok = timed
	case strings.IndexFunc(date, func(r rune) bool { return r >= 'a' && r <= 'z' }) >= 0:
		ok = p.iso(date)
	case len(date) == 8 && digits(date) >= 0:
		ok = p.isoFields([]string{date[:4], date[4:6], date[6:]}, FieldYear, FieldMonth, FieldDay)
	default:
		ok = p.isoFields(isoSplit(date), FieldYear, FieldMonth, FieldDay)
	}
	switch {
	case !ok || !timed || clock == "":
		return ok
	case strings.IndexFunc(clock, func(r rune) bool { return r >= 'a' && r <= 'z' }) >= 0:
		return p.iso("t" + clock)
	case len(clock) == 6 && digits(clock) >= 0:
		return p.isoFields([]string{clock[:2], clock[2:4], clock[4:]}, FieldHour, FieldMinute, FieldSecond)
	}
	return p.isoFields(strings.Split(clock, ":"), FieldHour, FieldMinute, FieldSecond)
}

// isoSplit splits at hyphens that are no signs.
func isoSplit(s string) []string {
	var parts []string
	start := 0
	for i := 1; i < len(s); i++ {
		if s[i] == '-' && i > start {
			parts = append(parts, s[start:i])
			start = i + 1
			i++
		}
	}
	return append(parts, s[min(start, len(s)):])
}

// isoFields adds numbers of the given units, the first ones if they are fewer.
func (p *intervalParser) isoFields(parts []string, units ...Field) bool {
	if len(parts) > len(units) {
		return false
	}
	for i, w := range parts {
		if w == "" || !p.number(w, units[i]) {
			return false
		}
	}
	return true
}
