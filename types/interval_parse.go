package types

import (
	"math"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// intervalUnits are the units of interval input and of extract.
var intervalUnits = map[string]Field{
	"us": FieldMicroseconds, "usec": FieldMicroseconds, "usecs": FieldMicroseconds, "usecond": FieldMicroseconds,
	"useconds": FieldMicroseconds, "microsecond": FieldMicroseconds, "microseconds": FieldMicroseconds,
	"ms": FieldMilliseconds, "msec": FieldMilliseconds, "msecs": FieldMilliseconds, "msecond": FieldMilliseconds,
	"mseconds": FieldMilliseconds, "millisecond": FieldMilliseconds, "milliseconds": FieldMilliseconds,
	"s": FieldSecond, "sec": FieldSecond, "secs": FieldSecond, "second": FieldSecond, "seconds": FieldSecond,
	"m": FieldMinute, "min": FieldMinute, "mins": FieldMinute, "minute": FieldMinute, "minutes": FieldMinute,
	"h": FieldHour, "hr": FieldHour, "hrs": FieldHour, "hour": FieldHour, "hours": FieldHour,
	"d": FieldDay, "day": FieldDay, "days": FieldDay,
	"w": FieldWeek, "week": FieldWeek, "weeks": FieldWeek,
	"mon": FieldMonth, "mons": FieldMonth, "month": FieldMonth, "months": FieldMonth,
	"qtr": FieldQuarter, "quarter": FieldQuarter,
	"y": FieldYear, "yr": FieldYear, "yrs": FieldYear, "year": FieldYear, "years": FieldYear,
	"dec": FieldDecade, "decs": FieldDecade, "decade": FieldDecade, "decades": FieldDecade,
	"c": FieldCentury, "cent": FieldCentury, "century": FieldCentury, "centuries": FieldCentury,
	"mil": FieldMillennium, "mils": FieldMillennium, "millennium": FieldMillennium, "millennia": FieldMillennium,
}

// intervalParser sums the fields of an interval. The fields are read from
// the right, because a unit stands after its number.
type intervalParser struct {
	input    string
	months   int64
	days     int64
	micros   int64
	seen     map[Field]bool
	overflow bool
}

// ParseInterval reads PostgreSQL's input syntax of interval: '1 year 2 mons
// 3 days 04:05:06.7', '1-2', '3 4:05', 'P1Y2M3DT4H5M6S', each with 'ago'.
func ParseInterval(s string) (IntervalValue, error) {
	p := intervalParser{input: s, seen: make(map[Field]bool, 4)}
	t := strings.ToLower(trimSpace(s))
	ok := t != "" && len(t) <= maxDateTimeInput
	if ok && strings.HasPrefix(trimSpace(s), "P") {
		ok = len(t) > 1 && p.isoParts(t[1:])
	} else if ok {
		t = trimSpace(strings.Map(passOver, t))
		ok = t != "" && p.verbose(t)
	}
	switch {
	case p.overflow:
		return IntervalValue{}, pgerr.New(pgerr.IntervalFieldOverflow, "interval field value out of range: \"%s\"", s)
	case !ok:
		return IntervalValue{}, errInput(Interval, s)
	case p.months != int64(int32(p.months)) && p.months/12 == int64(int32(p.months/12)):
		return IntervalValue{}, errIntervalRange()
	case p.months != int64(int32(p.months)) || p.days != int64(int32(p.days)):
		return IntervalValue{}, pgerr.New(pgerr.IntervalFieldOverflow, "interval field value out of range: \"%s\"", s)
	}
	return IntervalValue{Months: int32(p.months), Days: int32(p.days), Micros: p.micros}, nil
}

// passOver makes a space of punctuation that means nothing in a date or time:
// PostgreSQL's ParseDateTime skips it.
func passOver(r rune) rune {
	if strings.ContainsRune("*,;!()'\"#$%&<=>?[\\]^{|}~`", r) {
		return ' '
	}
	return r
}

// fields splits at spaces and between a number and a word.
func (p *intervalParser) fields(s string) (f []string, ok bool) {
	for i := 0; i < len(s); {
		start := i
		switch c := s[i]; {
		case isSpace(c) || c == '@' || c == ',':
			i++
			continue
		case isLetter(c):
			for i < len(s) && isLetter(s[i]) {
				i++
			}
			if i-start > 1 && i < len(s) && (isDigit(s[i]) || s[i] == '+') { // '1h30m', but not '1hour30min'
				return nil, false
			}
		case isDigit(c) || c == '+' || c == '-' || c == '.':
			i++
			for sign := c == '+' || c == '-'; sign && i < len(s) && isSpace(s[i]); {
				s = s[:i] + s[i+1:]
			}
			for i < len(s) && (isDigit(s[i]) || s[i] == '.' || s[i] == ':' || s[i] == '-' && isDigit(s[i-1])) {
				i++
			}
		default:
			return nil, false
		}
		f = append(f, s[start:i])
	}
	return f, len(f) > 0
}

func (p *intervalParser) verbose(s string) bool {
	f, ok := p.fields(s)
	if !ok {
		return false
	}
	ago, unit, pending := false, FieldSecond, false
	numbers := 0
	for i := len(f) - 1; i >= 0; i-- {
		w := f[i]
		switch {
		case w == "ago":
			ago, unit = true, 0 // which no number can have
		case isLetter(w[0]):
			u, known := intervalUnits[w]
			if !known || pending || u == FieldQuarter {
				return false
			}
			unit, pending = u, true
		case strings.Contains(w, ":"):
			if pending || !p.clock(w) {
				return false
			}
			unit = FieldDay // '3 04:05:06'
			numbers++
		default:
			if strings.LastIndexByte(w, '-') > 0 {
				if ok = !pending && p.yearMonth(w); ok {
					unit = FieldDay // '1-2 3'
				}
			} else {
				ok = p.number(w, unit)
				unit = FieldSecond
			}
			if !ok {
				return false
			}
			pending = false
			numbers++
		}
	}
	if numbers == 0 || pending {
		return false
	}
	if ago {
		if p.micros == math.MinInt64 {
			p.overflow = true
			return false
		}
		p.months, p.days, p.micros = -p.months, -p.days, -p.micros
	}
	return true
}

// once reports whether a field comes for the first time.
func (p *intervalParser) once(f Field) bool {
	if p.seen[f] {
		return false
	}
	p.seen[f] = true
	return true
}

// clock reads [±]HH:MM[:SS[.f]], or MM:SS.f.
func (p *intervalParser) clock(w string) bool {
	neg := w[0] == '-'
	w = strings.TrimLeft(w, "+-")
	parts := strings.Split(w, ":")
	if len(parts) == 2 && strings.Contains(parts[1], ".") {
		parts = []string{"0", parts[0], parts[1]}
	}
	if len(parts) == 2 {
		parts = append(parts, "0")
	}
	if len(parts) != 3 || !p.once(FieldHour) || !p.once(FieldMinute) || !p.once(FieldSecond) {
		return false
	}
	h, err := strconv.ParseUint(parts[0], 10, 63)
	if err != nil || h > math.MaxInt64/microsPerHour {
		p.overflow = len(parts[0]) > 0 && len(parts[0]) < 100 && !strings.Contains(parts[0], ".")
		return false
	}
	m, ok := smallNumber(parts[1])
	us, ok2 := secondsMicros(parts[2])
	if !ok || !ok2 {
		return false
	}
	if m > 59 || us > 60*microsPerSecond {
		p.overflow = true
		return false
	}
	parsed := [3]int64{int64(h) * microsPerHour, m * microsPerMinute, us}
	for _, us := range parsed {
		if neg {
			us = -us
		}
		if !p.addMicros(us) {
			return false
		}
	}
	return true
}

// yearMonth reads SQL's [±]Y-M.
func (p *intervalParser) yearMonth(w string) bool {
	i := strings.LastIndexByte(w, '-')
	y, err := strconv.ParseInt(w[:i], 10, 32)
	m, ok := smallNumber(w[i+1:])
	if err != nil || !ok || !p.once(FieldYear) || !p.once(FieldMonth) {
		return false
	}
	if m > 11 {
		p.overflow = true
		return false
	}
	if w[0] == '-' {
		m = -m
	}
	p.months += y*12 + m
	return true
}

// number adds [±]n[.f] of a unit.
func (p *intervalParser) number(w string, unit Field) bool {
	whole, fraction, _ := strings.Cut(w, ".")
	f, ok := fractionOf(fraction)
	if !ok || strings.TrimLeft(whole, "+-") == "" && fraction == "" {
		return false
	}
	var n int64
	if strings.TrimLeft(whole, "+-") != "" {
		var err error
		if n, err = strconv.ParseInt(whole, 10, 64); err != nil {
			p.overflow = true
			return false
		}
	}
	if w[0] == '-' {
		f = -f
	}
	seen := unit
	if unit == FieldMilliseconds || unit == FieldMicroseconds {
		seen = FieldSecond
	}
	return unit != 0 && p.once(seen) && p.add(n, f, unit)
}

// unitMonths, unitDays and unitMicros size the units.
func unitMonths(f Field) int64 {
	switch f {
	case FieldMonth:
		return 1
	case FieldYear:
		return 12
	case FieldDecade:
		return 120
	case FieldCentury:
		return 1200
	case FieldMillennium:
		return 12000
	}
	return 0
}

func unitDays(f Field) int64 {
	switch f {
	case FieldDay:
		return 1
	case FieldWeek:
		return 7
	}
	return 0
}

func unitMicros(f Field) int64 {
	switch f {
	case FieldMicroseconds:
		return 1
	case FieldMilliseconds:
		return 1000
	case FieldSecond:
		return microsPerSecond
	case FieldMinute:
		return microsPerMinute
	case FieldHour:
		return microsPerHour
	}
	return 0
}

// add adds n + f of a unit: fractions of years go into months, of months into
// days of 30, of days into time.
func (p *intervalParser) add(n int64, f float64, unit Field) bool {
	if m := unitMonths(unit); m > 0 {
		if n != int64(int32(n)) {
			p.overflow = true
			return false
		}
		p.months += n * m
		if m > 1 { // to whole months
			p.months += int64(math.RoundToEven(f * float64(m)))
			return true
		}
		return p.addDays(f * 30)
	}
	if d := unitDays(unit); d > 0 {
		if n != int64(int32(n)) {
			p.overflow = true
			return false
		}
		p.days += n * d
		return p.addDays(f * float64(d))
	}
	us := unitMicros(unit)
	if n > math.MaxInt64/us || n < math.MinInt64/us {
		p.overflow = true
		return false
	}
	return p.addMicros(n*us) && p.addMicros(int64(math.RoundToEven(f*float64(us))))
}

// addDays adds a small number of days with a fraction.
func (p *intervalParser) addDays(f float64) bool {
	d := math.Trunc(f)
	p.days += int64(d)
	return p.addMicros(int64(math.RoundToEven((f - d) * microsPerDay)))
}

func (p *intervalParser) addMicros(us int64) bool {
	s := p.micros + us
	if us > 0 && s < p.micros || us < 0 && s > p.micros {
		p.overflow = true
		return false
	}
	p.micros = s
	return true
}

// iso reads ISO 8601's form with designators after its P.
func (p *intervalParser) iso(s string) bool {
	inTime, any := false, false
	for s != "" {
		if s[0] == 't' && !inTime {
			inTime, any = true, true
			s = s[1:]
			continue
		}
		i := 0
		for i < len(s) && !isLetter(s[i]) {
			i++
		}
		if i == 0 || i == len(s) {
			return false
		}
		unit, ok := isoUnit(s[i], inTime)
		for j := 0; j < i; j++ {
			if c := s[j]; !isDigit(c) && c != '.' && (j > 0 || c != '-' && c != '+') {
				return false
			}
		}
		whole, fraction, _ := strings.Cut(s[:i], ".")
		f, ok2 := fractionOf(fraction)
		var n int64
		if strings.TrimLeft(whole, "+-") != "" {
			var err error
			if n, err = strconv.ParseInt(whole, 10, 64); err != nil {
				p.overflow = true
				return false
			}
		} else if fraction == "" {
			return false
		}
		if s[0] == '-' {
			f = -f
		}
		if !ok || !ok2 || !p.add(n, f, unit) {
			return false
		}
		any = true
		s = s[i+1:]
	}
	return any
}

func isoUnit(c byte, inTime bool) (Field, bool) {
	switch {
	case !inTime && c == 'y':
		return FieldYear, true
	case !inTime && c == 'm':
		return FieldMonth, true
	case !inTime && c == 'w':
		return FieldWeek, true
	case !inTime && c == 'd':
		return FieldDay, true
	case inTime && c == 'h':
		return FieldHour, true
	case inTime && c == 'm':
		return FieldMinute, true
	case inTime && c == 's':
		return FieldSecond, true
	}
	return 0, false
}
