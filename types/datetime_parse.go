package types

import (
	"math"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // named zones on machines without a zone database

	"github.com/streamdb/streamdb/internal/pgerr"
)

// maxDateTimeInput bounds the text of a date, timestamp or interval, as
// PostgreSQL's MAXDATELEN does.
const maxDateTimeInput = 128

// dateTime is a date and time of day as read from text.
type dateTime struct {
	special int64 // TimestampNegInf, TimestampPosInf, or 0
	days    int64 // since 2000-01-01
	tod     int64 // µs, up to and including 24:00 and a leap second
	zoned   bool
	offset  int64          // seconds east of UTC, if zoned and zone is nil
	zone    *time.Location // if zoned by name
	dated   bool           // a time came with a date
}

// ParseDate reads PostgreSQL's input syntax of date (DateStyle ISO, MDY).
func ParseDate(s string) (int64, error) {
	dt, err := parseDateTime(Date, s)
	if err != nil {
		return 0, err
	}
	switch {
	case dt.special == TimestampNegInf:
		return DateNegInf, nil
	case dt.special == TimestampPosInf:
		return DatePosInf, nil
	case !validDate(dt.days):
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "date out of range: \"%s\"", s)
	}
	return dt.days, nil
}

// ParseTimestamp reads PostgreSQL's input syntax of timestamp. A zone in it
// is ignored, as PostgreSQL does.
func ParseTimestamp(s string) (int64, error) {
	dt, err := parseDateTime(Timestamp, s)
	if err != nil {
		return 0, err
	}
	return dt.timestamp(s, 0)
}

// ParseTimestamptz reads PostgreSQL's input syntax of timestamptz. Input
// without a zone is in loc.
func ParseTimestamptz(s string, loc *time.Location) (int64, error) {
	dt, err := parseDateTime(Timestamptz, s)
	if err != nil {
		return 0, err
	}
	if dt.special != 0 {
		return dt.special, nil
	}
	if dt.zoned && dt.zone == nil {
		return dt.timestamp(s, dt.offset)
	}
	t, err := dt.timestamp(s, 0)
	if err != nil {
		return 0, err
	}
	if dt.zone != nil {
		loc = dt.zone
	}
	return TimestampFromLocal(t, loc)
}

func (dt *dateTime) timestamp(s string, offset int64) (int64, error) {
	if dt.special != 0 {
		return dt.special, nil
	}
	const lastDay = endTimestamp / microsPerDay
	if dt.days >= minDate-1 && dt.days <= lastDay {
		sec := dt.days*secondsPerDay - offset + dt.tod/microsPerSecond
		if sec >= minTimestamp/microsPerSecond && sec < endTimestamp/microsPerSecond {
			return sec*microsPerSecond + dt.tod%microsPerSecond, nil
		}
	}
	return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp out of range: \"%s\"", s)
}

func parseDateTime(k Kind, s string) (dt dateTime, err error) {
	if dt.parseISO(s) && (k != Time && k != Timetz || len(s) > 10) {
		dt.dated = true
		return dt, nil
	}
	if len(s) > maxDateTimeInput {
		return dt, errInput(k, s)
	}
	p := dateTimeParser{kind: k, input: s}
	err = p.parse()
	return p.dt, err
}

// parseISO reads the common forms YYYY-MM-DD[( |T)HH:MM:SS[.ffffff][Z|±HH[:MM]]]
// without allocating; false leaves it to the full parser.
func (dt *dateTime) parseISO(s string) bool {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return false
	}
	y, m, d := digits(s[:4]), digits(s[5:7]), digits(s[8:10])
	if y < 1 || m < 1 || m > 12 || d < 1 || d > daysInMonth(int64(y), m) {
		return false
	}
	var r dateTime
	r.days = DaysFromCivil(int64(y), m, d)
	if len(s) == 10 {
		*dt = r
		return true
	}
	if len(s) < 19 || s[10] != ' ' && s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return false
	}
	h, mi, sec := digits(s[11:13]), digits(s[14:16]), digits(s[17:19])
	if h < 0 || h > 23 || mi < 0 || mi > 59 || sec < 0 || sec > 59 {
		return false
	}
	s = s[19:]
	us := 0
	if s != "" && s[0] == '.' {
		i, p := 1, 100000
		for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
			us += int(s[i]-'0') * p
			p /= 10
		}
		if i > 7 || i == 1 {
			return false
		}
		s = s[i:]
	}
	r.tod = int64((h*60+mi)*60+sec)*microsPerSecond + int64(us)
	if !r.isoZone(s) {
		return false
	}
	*dt = r
	return true
}

func (dt *dateTime) isoZone(s string) bool {
	switch {
	case s == "":
		return true
	case s == "Z":
		dt.zoned = true
		return true
	case len(s) != 3 && len(s) != 6 || s[0] != '+' && s[0] != '-':
		return false
	}
	h, m := digits(s[1:3]), 0
	if len(s) == 6 {
		if m = digits(s[4:6]); s[3] != ':' {
			return false
		}
	}
	if h < 0 || h > 15 || m < 0 || m > 59 {
		return false
	}
	dt.zoned, dt.offset = true, int64(h*60+m)*60
	if s[0] == '-' {
		dt.offset = -dt.offset
	}
	return true
}

// digits gives the value of a short string of decimal digits, -1 if it is
// something else.
func digits(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// dateTimeParser reads any form. The date's numbers and its month by name are
// collected in their order, and told apart at the end.
type dateTimeParser struct {
	kind  Kind
	input string // for messages
	rest  string // lower case, what is still to read
	dt    dateTime

	parts    []string // at most 3: numbers, or the name of a month
	compact  bool     // the date was YYYYMMDD
	hasTime  bool
	isoTime  bool // a T came: the next number is a time
	bc       bool
	meridiem byte // 'a', 'p' or 0
	hour     int64
	minutes  int64
	micros   int64 // seconds and fraction
	words    int
}

func (p *dateTimeParser) syntax() error { return errInput(p.kind, p.input) }

func (p *dateTimeParser) overflow() *pgerr.Error {
	return pgerr.New(pgerr.DatetimeFieldOverflow, "date/time field value out of range: \"%s\"", p.input)
}

func (p *dateTimeParser) parse() error {
	p.rest = strings.ToLower(trimSpace(p.input))
	if p.rest == "" {
		return p.syntax()
	}
	for p.rest != "" {
		c := p.rest[0]
		var err error
		switch {
		case isSpace(c) || c == ',':
			p.rest = p.rest[1:]
		case c >= '0' && c <= '9':
			err = p.number()
		case c >= 'a' && c <= 'z':
			err = p.word()
		case c == '+' || c == '-':
			err = p.signed()
		default:
			err = p.syntax()
		}
		if err != nil {
			return err
		}
	}
	return p.finish()
}

// takeWhile takes the longest prefix of bytes that f accepts.
func (p *dateTimeParser) takeWhile(f func(byte) bool) string {
	i := 0
	for i < len(p.rest) && f(p.rest[i]) {
		i++
	}
	t := p.rest[:i]
	p.rest = p.rest[i:]
	return t
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

func (p *dateTimeParser) peek() byte {
	if p.rest == "" {
		return 0
	}
	return p.rest[0]
}

func (p *dateTimeParser) number() error {
	n := p.takeWhile(isDigit)
	c := p.peek()
	switch {
	case c == ':':
		return p.clock(n + p.takeWhile(func(c byte) bool { return isDigit(c) || c == ':' || c == '.' }))
	case p.timeOnly() && c == '-' && (len(n) == 6 || len(n) == 4) && strings.Count(p.rest, "-") == 1:
		return p.digitsOnly(n, "")
	case (c == '-' || c == '/' || c == '.' && !p.isoTime && len(n) < 6) && len(p.parts) == 0:
		return p.delimited(n, c)
	case c == '.':
		return p.digitsOnly(n, p.takeWhile(func(c byte) bool { return isDigit(c) || c == '.' }))
	}
	return p.digitsOnly(n, "")
}

// delimited reads a date whose parts stand between delimiters.
func (p *dateTimeParser) delimited(first string, delim byte) error {
	p.parts = append(p.parts, first)
	for p.peek() == delim {
		p.rest = p.rest[1:]
		f := isDigit
		if isLetter(p.peek()) {
			f = isLetter
		}
		part := p.takeWhile(f)
		if part == "" || len(p.parts) == 3 {
			return p.syntax()
		}
		p.parts = append(p.parts, part)
	}
	if len(p.parts) != 3 && !(len(p.parts) == 2 && len(first) >= 4 && len(p.parts[1]) == 3) {
		return p.syntax()
	}
	return nil
}

// timeOnly says that a date may be left out.
func (p *dateTimeParser) timeOnly() bool { return p.kind == Time || p.kind == Timetz }

// digitsOnly reads YYYYMMDD, YYMMDD, HHMMSS[.f], HHMM after a T, or one part
// of a date.
func (p *dateTimeParser) digitsOnly(n, fraction string) error {
	clock := p.isoTime || len(p.parts) == 3
	if p.timeOnly() && !p.hasTime && len(p.parts) == 0 && (len(n) == 6 || len(n) == 4 && fraction == "") {
		clock = true
	}
	switch {
	case clock && !p.hasTime && len(n) == 6:
		return p.clock(n[:2] + ":" + n[2:4] + ":" + n[4:] + fraction)
	case fraction != "":
		return p.syntax()
	case clock && !p.hasTime && len(n) == 4:
		return p.clock(n[:2] + ":" + n[2:])
	case clock && p.isoTime && !p.hasTime && len(n) == 2:
		return p.clock(n + ":00")
	case clock:
		return p.syntax()
	case len(p.parts) == 0 && (len(n) == 8 || len(n) == 6):
		p.compact = true
		p.parts = append(p.parts, n[:len(n)-4], n[len(n)-4:len(n)-2], n[len(n)-2:])
		return nil
	}
	p.parts = append(p.parts, n)
	return nil
}

// clock reads HH:MM[:SS[.f]].
func (p *dateTimeParser) clock(s string) error {
	if p.hasTime {
		return p.syntax()
	}
	p.hasTime = true
	parts := strings.Split(s, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return p.syntax()
	}
	h, ok1 := smallNumber(parts[0])
	m, ok2 := smallNumber(parts[1])
	us, ok3 := int64(0), true
	if len(parts) == 3 {
		us, ok3 = secondsMicros(parts[2])
	}
	if !ok1 || !ok2 || !ok3 {
		return p.syntax()
	}
	if h > 24 || m > 59 || us > 60*microsPerSecond || h == 24 && (m > 0 || us > 0) {
		return p.overflow()
	}
	p.hour, p.minutes, p.micros = h, m, us
	return nil
}

// smallNumber reads up to nine digits.
func smallNumber(s string) (int64, bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	n := digits(s)
	return int64(n), n >= 0
}

// secondsMicros reads SS[.f] as µs, rounded.
func secondsMicros(s string) (int64, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	n, ok := smallNumber(whole)
	if !ok {
		return 0, false
	}
	f, ok := fractionOf(fraction)
	return n*microsPerSecond + int64(math.RoundToEven(f*1e6)), ok
}

// fractionOf reads digits after a point as a number in [0, 1).
func fractionOf(s string) (float64, bool) {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, false
		}
	}
	f, err := strconv.ParseFloat("0."+s+"0", 64)
	return f, err == nil
}

// signed reads a zone as ±HH[[:]MM[:SS]], or an infinity.
func (p *dateTimeParser) signed() error {
	sign := int64(1)
	if p.rest[0] == '-' {
		sign = -1
	}
	p.rest = p.rest[1:]
	for isSpace(p.peek()) {
		p.rest = p.rest[1:]
	}
	if isLetter(p.peek()) {
		w := p.takeWhile(isLetter)
		if w != "infinity" || p.dt.special != 0 {
			return p.syntax()
		}
		p.words++
		p.dt.special = TimestampPosInf
		if sign < 0 {
			p.dt.special = TimestampNegInf
		}
		return nil
	}
	s := p.takeWhile(func(c byte) bool { return isDigit(c) || c == ':' })
	if p.dt.zoned || len(p.parts) < 3 && !(p.timeOnly() && p.hasTime) {
		return p.syntax()
	}
	off, err := p.displacement(s)
	p.dt.zoned, p.dt.offset = true, sign*off
	return err
}

func (p *dateTimeParser) displacement(s string) (int64, error) {
	parts := strings.Split(s, ":")
	if len(parts) == 1 && len(s) > 2 { // HHMM, HMM
		parts = []string{s[:len(s)-2], s[len(s)-2:]}
	}
	var v [3]int64
	if len(parts) > 3 {
		return 0, p.syntax()
	}
	for i, t := range parts {
		n, ok := smallNumber(t)
		if !ok {
			return 0, p.syntax()
		}
		v[i] = n
	}
	if v[0] > 15 || v[1] > 59 || v[2] > 59 {
		return 0, pgerr.New(pgerr.InvalidTimeZoneDisplacement, "time zone displacement out of range: \"%s\"", p.input)
	}
	return (v[0]*60+v[1])*60 + v[2], nil
}

var months = [...]string{"january", "february", "march", "april", "may", "june",
	"july", "august", "september", "october", "november", "december"}

var weekdays = [...]string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}

// monthNumber gives the number of a month's name or abbreviation, 0 for none.
func monthNumber(w string) int {
	for i, m := range months {
		if w == m || w == m[:3] || w == "sept" && i == 8 {
			return i + 1
		}
	}
	return 0
}

func isWeekday(w string) bool {
	for _, d := range weekdays {
		if w == d || w == d[:3] {
			return true
		}
	}
	switch w {
	case "tues", "weds", "thur", "thurs":
		return true
	}
	return false
}

// zoneAbbrevs are the common ones of PostgreSQL's default set, in hours.
var zoneAbbrevs = map[string]float64{
	"z": 0, "zulu": 0, "ut": 0, "utc": 0, "gmt": 0, "uct": 0, "wet": 0,
	"cet": 1, "met": 1, "bst": 1, "west": 1, "cest": 2, "mest": 2, "eet": 2, "eest": 3, "msk": 3,
	"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
	"akst": -9, "akdt": -8, "hst": -10, "jst": 9, "kst": 9, "aest": 10, "aedt": 11, "nzst": 12, "nzdt": 13,
}

func (p *dateTimeParser) word() error {
	w := p.takeWhile(isLetter)
	p.words++
	if monthNumber(w) > 0 {
		if len(p.parts) == 3 {
			return p.syntax()
		}
		if c := p.peek(); (c == '-' || c == '/') && len(p.parts) == 0 {
			return p.delimited(w, c)
		}
		p.parts = append(p.parts, w)
		return nil
	}
	if (w == "j" || w == "jd") && isDigit(p.peek()) && len(p.parts) == 0 {
		n, ok := smallNumber(p.takeWhile(isDigit))
		if !ok {
			return p.overflow()
		}
		y, m, d := CivilFromDays(n + minDate)
		if p.bc = y <= 0; p.bc {
			y = 1 - y
		}
		year := strconv.FormatInt(y, 10)
		p.parts = append(p.parts, strings.Repeat("0", max(4-len(year), 0))+year, strconv.Itoa(m), strconv.Itoa(d))
		return nil
	}
	if off, ok := zoneAbbrevs[w]; ok && p.peek() != '/' {
		if p.dt.zoned {
			return p.syntax()
		}
		p.dt.zoned, p.dt.offset = true, int64(off*3600)
		return nil
	}
	switch {
	case isWeekday(w):
	case w == "allballs" && !p.hasTime:
		p.hasTime = true
		p.dt.zoned, p.dt.offset = true, 0
	case w == "t" && (len(p.parts) == 3 || p.timeOnly()) && !p.hasTime:
		p.isoTime = true
	case w == "am" || w == "pm":
		p.meridiem = w[0]
	case w == "bc" || w == "ad":
		p.bc = w == "bc"
	case w == "epoch":
		p.dt.days = -unixEpochSeconds / secondsPerDay
		return p.alone()
	case w == "infinity":
		p.dt.special = TimestampPosInf
		return p.alone()
	case w == "now" || w == "today" || w == "tomorrow" || w == "yesterday":
		return pgerr.Unsupported("date/time value \"%s\"", w).WithHint("Use now() or current_date.")
	default:
		return p.zoneName(w)
	}
	return nil
}

// alone checks that a special value is all there is.
func (p *dateTimeParser) alone() error {
	if p.rest != "" || p.words > 1 || len(p.parts) > 0 || p.hasTime {
		return p.syntax()
	}
	p.dt.zoned = true
	p.parts = nil
	p.words = -1
	return nil
}

func (p *dateTimeParser) zoneName(w string) error {
	w += p.takeWhile(func(c byte) bool { return isLetter(c) || isDigit(c) || c == '/' || c == '_' || c == '-' })
	if p.dt.zoned || !strings.Contains(w, "/") {
		return p.syntax()
	}
	loc, err := LoadZone(w)
	if err != nil {
		return err
	}
	p.dt.zoned, p.dt.zone = true, loc
	return nil
}

// LoadZone gives a time zone by its IANA name in any case, or one of a few
// abbreviations; 22023 if there is none.
func LoadZone(name string) (*time.Location, error) {
	low := strings.ToLower(name)
	if off, ok := zoneAbbrevs[low]; ok {
		if off == 0 {
			return time.UTC, nil
		}
		return time.FixedZone(strings.ToUpper(name), int(off*3600)), nil
	}
	if low != "local" && low != "" {
		for _, n := range []string{name, zoneCase(low), strings.ToUpper(low)} {
			if loc, err := time.LoadLocation(n); err == nil {
				return loc, nil
			}
		}
	}
	return nil, pgerr.New(pgerr.InvalidParameterValue, "time zone \"%s\" not recognized", name)
}

// zoneCase writes a zone as the database does: America/Port-au-Prince.
func zoneCase(s string) string {
	b := []byte(s)
	for i := range b {
		first := i == 0 || b[i-1] == '/' || b[i-1] == '_' || b[i-1] == '-'
		if first && isLetter(b[i]) {
			b[i] -= 'a' - 'A'
		}
	}
	t := string(b)
	for _, w := range []string{"-Au-", "_Es_", "-In-"} {
		t = strings.ReplaceAll(t, w, strings.ToLower(w))
	}
	t = strings.ReplaceAll(t, "_Of_", "_of_")
	return strings.ReplaceAll(t, "Dumontdurville", "DumontDUrville")
}

// finish checks the fields and makes them a date and a time.
func (p *dateTimeParser) finish() error {
	if p.words < 0 || p.dt.special != 0 { // a special value
		if len(p.parts) > 0 || p.hasTime || p.dt.special != 0 && p.words > 1 || p.timeOnly() {
			return p.syntax()
		}
		return nil
	}
	if p.isoTime && !p.hasTime || p.timeOnly() && !p.hasTime {
		return p.syntax()
	}
	if err := p.day(); err != nil {
		return err
	}
	if p.meridiem != 0 {
		if !p.hasTime || p.hour > 12 {
			return p.overflow()
		}
		p.hour %= 12
		if p.meridiem == 'p' {
			p.hour += 12
		}
	}
	p.dt.tod = p.hour*microsPerHour + p.minutes*microsPerMinute + p.micros
	return nil
}

// day reads the date, which a time need not have: year, month and day, or a
// year and the day in it.
func (p *dateTimeParser) day() error {
	switch {
	case len(p.parts) == 0 && p.timeOnly():
		return nil
	case len(p.parts) == 2 && !p.compact && len(p.parts[0]) >= 4 && len(p.parts[1]) == 3 && isDigit(p.parts[0][0]) && isDigit(p.parts[1][0]):
		return p.yearDay()
	case len(p.parts) != 3:
		return p.syntax()
	}
	p.dt.dated = true
	return p.date()
}

// yearDay reads a year and a day of it.
func (p *dateTimeParser) yearDay() error {
	y, ok := smallNumber(p.parts[0])
	if !ok {
		return p.overflow()
	}
	if p.bc && y > 0 {
		y = 1 - y
	}
	d := digits(p.parts[1])
	switch {
	case d < 1:
		return p.syntax()
	case y == 0 && !p.bc || d > 366:
		return p.overflow()
	}
	p.dt.dated = true
	p.dt.days = DaysFromCivil(y, 1, 1) + int64(d) - 1
	return nil
}

// date tells year, month and day apart.
func (p *dateTimeParser) date() error {
	month, at := 0, -1
	for i, part := range p.parts {
		if isLetter(part[0]) {
			if at >= 0 {
				return p.syntax()
			}
			if month, at = monthNumber(part), i; month == 0 {
				return p.syntax()
			}
		}
	}
	var ys, ms, ds string
	a, b, c := p.parts[0], p.parts[1], p.parts[2]
	switch {
	case at == 0:
		ds, ys = b, c
	case at == 1:
		ds, ys = a, c
	case at == 2:
		ds, ys = a, b
	case p.compact || len(a) >= 3:
		ys, ms, ds = a, b, c
	default:
		ms, ds, ys = a, b, c
	}
	if at >= 0 && len(ds) >= 3 {
		ds, ys = ys, ds
	}
	y, ok := smallNumber(ys)
	d, ok2 := smallNumber(ds)
	if at < 0 {
		n, ok := smallNumber(ms)
		if !ok {
			return p.syntax()
		}
		month = int(min(n, 99))
	}
	if !ok || !ok2 {
		return p.overflow()
	}
	return p.setDate(y, len(ys), month, d)
}

func (p *dateTimeParser) setDate(y int64, yearDigits, month int, day int64) error {
	switch {
	case p.bc && y > 0:
		y = 1 - y
	case y == 0 && yearDigits > 2 || p.bc:
		return p.overflow()
	case yearDigits <= 2 && y < 70:
		y += 2000
	case yearDigits <= 2:
		y += 1900
	}
	if month < 1 || month > 12 || day < 1 || day > 31 {
		return p.overflow().WithHint("Perhaps you need a different \"datestyle\" setting.")
	}
	if int(day) > daysInMonth(y, month) {
		return p.overflow()
	}
	p.dt.days = DaysFromCivil(y, month, int(day))
	return nil
}
