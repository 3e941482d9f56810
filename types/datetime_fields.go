package types

import (
	"strings"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// Field is a part of a date, timestamp or interval, for extract and
// date_trunc. Values are written to stored plans: never renumber.
type Field uint8

// The fields. Those up to FieldMillennium are also units of truncation.
const (
	FieldMicroseconds Field = iota + 1
	FieldMilliseconds
	FieldSecond
	FieldMinute
	FieldHour
	FieldDay
	FieldWeek
	FieldMonth
	FieldQuarter
	FieldYear
	FieldDecade
	FieldCentury
	FieldMillennium
	FieldISOYear
	FieldDow
	FieldISODow
	FieldDoy
	FieldEpoch
	FieldJulian
	FieldTimezone
	FieldTimezoneHour
	FieldTimezoneMinute
)

var otherFields = map[string]Field{
	"isoyear": FieldISOYear, "dow": FieldDow, "isodow": FieldISODow, "doy": FieldDoy, "epoch": FieldEpoch,
	"j": FieldJulian, "jd": FieldJulian, "julian": FieldJulian, "timezone": FieldTimezone,
	"timezone_h": FieldTimezoneHour, "timezone_hour": FieldTimezoneHour,
	"timezone_m": FieldTimezoneMinute, "timezone_minute": FieldTimezoneMinute,
}

func errField(verb, name string, t Type) *pgerr.Error {
	code := pgerr.InvalidParameterValue
	if verb == "supported" {
		code = pgerr.FeatureNotSupported
	}
	return pgerr.New(code, "unit \"%s\" not %s for type %s", strings.ToLower(name), verb, t)
}

func fieldByName(name string) (Field, bool) {
	low := strings.ToLower(name)
	if f, ok := intervalUnits[low]; ok {
		return f, true
	}
	f, ok := otherFields[low]
	return f, ok
}

// ExtractField gives the field called name (in any case) as extract takes it
// from a value of type t, or PostgreSQL's error.
func ExtractField(name string, t Type) (Field, error) {
	f, ok := fieldByName(name)
	if !ok {
		return 0, errField("recognized", name, t)
	}
	zone := f >= FieldTimezone
	switch t.Kind {
	case Date:
		ok = f >= FieldDay && !zone
	case Timestamp:
		ok = !zone
	case Interval:
		ok = f <= FieldMillennium && f != FieldWeek || f == FieldEpoch
	case Time:
		ok = f <= FieldHour || f == FieldEpoch
	case Timetz:
		ok = f <= FieldHour || f == FieldEpoch || zone
	}
	if !ok {
		return 0, errField("supported", name, t)
	}
	return f, nil
}

// TruncField gives the unit called name as date_trunc takes it for type t, or
// PostgreSQL's error.
func TruncField(name string, t Type) (Field, error) {
	f, ok := fieldByName(name)
	switch {
	case !ok || f > FieldMillennium && f < FieldTimezone:
		return 0, errField("recognized", name, t)
	case f > FieldMillennium:
		return 0, errField("supported", name, t)
	case t.Kind == Interval && f == FieldWeek:
		return 0, errField("supported", name, t).WithDetail("Months usually have fractional weeks.")
	}
	return f, nil
}

// scaledNum gives i / 10^scale shown with scale digits.
func scaledNum(i int64, scale int32) Num {
	n := NumFromInt64(i)
	n.Scale = scale
	return n
}

// ExtractTimestamp gives a field of a timestamp. ok is false for NULL, which
// is what the fields of ±infinity are that do not grow for ever.
func ExtractTimestamp(f Field, t int64) (n Num, ok bool) {
	if !TimestampFinite(t) {
		return extractInfinite(f, t == TimestampNegInf)
	}
	days, tod := floorDiv(t, microsPerDay)
	switch f {
	case FieldEpoch:
		r := scaledNum(t, 6)
		e := scaledNum(unixEpochSeconds*microsPerSecond, 6)
		r, _ = NumAdd(r, e) // far below any limit
		return r, true
	case FieldJulian:
		frac, _ := NumDiv(NumFromInt64(tod), NumFromInt64(microsPerDay))
		r, _ := NumAdd(NumFromInt64(days-minDate), frac)
		return r, true
	}
	if f <= FieldHour {
		return extractTime(f, tod%microsPerMinute, tod/microsPerMinute%60, tod/microsPerHour), true
	}
	return NumFromInt64(dateField(f, days)), true
}

// ExtractTimestamptz is ExtractTimestamp as the clock in loc shows it.
func ExtractTimestamptz(f Field, t int64, loc *time.Location) (n Num, ok bool) {
	if f == FieldEpoch || !TimestampFinite(t) {
		return ExtractTimestamp(f, t)
	}
	local := TimestamptzToLocal(t, loc)
	off := (local - t) / microsPerSecond
	switch f {
	case FieldTimezone:
		return NumFromInt64(off), true
	case FieldTimezoneHour:
		return NumFromInt64(off / 3600), true
	case FieldTimezoneMinute:
		return NumFromInt64(off / 60 % 60), true
	}
	return ExtractTimestamp(f, local)
}

// ExtractDate gives a field of a date; ok is false for NULL.
func ExtractDate(f Field, d int64) (n Num, ok bool) {
	switch {
	case !DateFinite(d):
		return extractInfinite(f, d == DateNegInf)
	case f == FieldEpoch:
		return NumFromInt64(d*secondsPerDay + unixEpochSeconds), true
	case f == FieldJulian:
		return NumFromInt64(d - minDate), true
	}
	return NumFromInt64(dateField(f, d)), true
}

func extractInfinite(f Field, negative bool) (Num, bool) {
	switch f {
	case FieldYear, FieldDecade, FieldCentury, FieldMillennium, FieldISOYear, FieldEpoch, FieldJulian:
		if negative {
			return Num{Kind: NumNegInf}, true
		}
		return Num{Kind: NumPosInf}, true
	}
	return Num{}, false
}

// extractTime gives a field of a time: µs of the minute, minute, hour.
func extractTime(f Field, us, minute, hour int64) Num {
	switch f {
	case FieldMicroseconds:
		return NumFromInt64(us)
	case FieldMilliseconds:
		return scaledNum(us, 3)
	case FieldSecond:
		return scaledNum(us, 6)
	case FieldMinute:
		return NumFromInt64(minute)
	}
	return NumFromInt64(hour)
}

// dateField gives a whole-numbered field of a day.
func dateField(f Field, days int64) int64 {
	switch f {
	case FieldDow:
		return weekday(days)
	case FieldISODow:
		return (weekday(days)+6)%7 + 1
	case FieldWeek:
		_, w := isoWeek(days)
		return w
	case FieldISOYear:
		y, _ := isoWeek(days)
		if y <= 0 {
			y--
		}
		return y
	}
	y, m, d := CivilFromDays(days)
	switch f {
	case FieldDay:
		return int64(d)
	case FieldMonth:
		return int64(m)
	case FieldQuarter:
		return int64(m-1)/3 + 1
	case FieldDoy:
		return days - DaysFromCivil(y, 1, 1) + 1
	case FieldDecade:
		q, _ := floorDiv(y, 10)
		return q
	case FieldCentury:
		return centuryOf(y, 100)
	case FieldMillennium:
		return centuryOf(y, 1000)
	}
	if y <= 0 { // there is no year 0
		y--
	}
	return y
}

// centuryOf numbers spans of n years from 1 up, and from -1 down before year 1.
func centuryOf(y, n int64) int64 {
	if y > 0 {
		return (y + n - 1) / n
	}
	return -((n - 1 - (y - 1)) / n)
}

// ExtractInterval gives a field of an interval.
func ExtractInterval(f Field, iv IntervalValue) Num {
	years := int64(iv.Months / 12)
	switch f {
	case FieldDay:
		return NumFromInt64(int64(iv.Days))
	case FieldMonth:
		return NumFromInt64(int64(iv.Months % 12))
	case FieldQuarter:
		return NumFromInt64(int64(iv.Months%12/3) + 1)
	case FieldYear:
		return NumFromInt64(years)
	case FieldDecade:
		return NumFromInt64(years / 10)
	case FieldCentury:
		return NumFromInt64(years / 100)
	case FieldMillennium:
		return NumFromInt64(years / 1000)
	case FieldEpoch: // a year is 365.25 days
		s := (1461*years + 120*int64(iv.Months%12) + 4*int64(iv.Days)) * (secondsPerDay / 4)
		n := scaledNum(s, 0)
		if c, ok := n.scaled(6); ok {
			n.set128(c)
		}
		n.Scale = 6
		n, _ = NumAdd(n, scaledNum(iv.Micros, 6))
		return n
	}
	us := iv.Micros
	return extractTime(f, us%microsPerMinute, us/microsPerMinute%60, us/microsPerHour)
}

// TruncTimestamp cuts t to a unit.
func TruncTimestamp(f Field, t int64) (int64, error) {
	if !TimestampFinite(t) {
		return t, nil
	}
	if f < FieldDay {
		_, r := floorDiv(t, truncMicros(f))
		return t - r, nil
	}
	days, _ := floorDiv(t, microsPerDay)
	r := truncDays(f, days) * microsPerDay
	if !validTimestamp(r) {
		return 0, errTimestampRange()
	}
	return r, nil
}

// TruncTimestamptz cuts t to a unit of the clock in loc.
func TruncTimestamptz(f Field, t int64, loc *time.Location) (int64, error) {
	if loc == time.UTC || !TimestampFinite(t) {
		return TruncTimestamp(f, t)
	}
	local := TimestamptzToLocal(t, loc)
	r, err := TruncTimestamp(f, local)
	if err != nil {
		return 0, err
	}
	if f < FieldDay { // stays on this side of a change of the clock
		return r - (local - t), nil
	}
	return TimestampFromLocal(r, loc)
}

func truncMicros(f Field) int64 {
	if u := unitMicros(f); u > 0 {
		return u
	}
	return microsPerDay
}

func truncDays(f Field, days int64) int64 {
	switch f {
	case FieldDay:
		return days
	case FieldWeek:
		return days - (weekday(days)+6)%7
	}
	y, m, _ := CivilFromDays(days)
	switch f {
	case FieldMonth:
		return DaysFromCivil(y, m, 1)
	case FieldQuarter:
		return DaysFromCivil(y, (m-1)/3*3+1, 1)
	case FieldDecade:
		q, _ := floorDiv(y, 10)
		y = q * 10
	case FieldCentury:
		y = firstYear(y, 100)
	case FieldMillennium:
		y = firstYear(y, 1000)
	}
	return DaysFromCivil(y, 1, 1)
}

// firstYear gives the first year of y's span of n years, counted from 1.
func firstYear(y, n int64) int64 {
	_, r := floorDiv(y-1, n)
	return y - r
}

// TruncInterval cuts an interval to a unit, towards zero.
func TruncInterval(f Field, iv IntervalValue) IntervalValue {
	if f < FieldDay {
		iv.Micros -= iv.Micros % truncMicros(f)
		return iv
	}
	iv.Micros = 0
	if f == FieldDay {
		return iv
	}
	iv.Days = 0
	switch f {
	case FieldQuarter:
		iv.Months -= iv.Months % 3
	case FieldMonth:
	default:
		iv.Months -= iv.Months % int32(unitMonths(f))
	}
	return iv
}
