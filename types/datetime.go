package types

import (
	"math"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
)

const (
	microsPerSecond = 1000000
	microsPerMinute = 60 * microsPerSecond
	microsPerHour   = 60 * microsPerMinute
	microsPerDay    = 24 * microsPerHour

	secondsPerDay = 86400
	// unixEpochSeconds is 2000-01-01 in Unix time.
	unixEpochSeconds = 946684800
)

// Infinite dates and timestamps, and the first and the one after the last
// that are finite. As PostgreSQL's: 4713-11-24 BC up to 294276-12-31, dates
// up to 5874897-12-31.
const (
	DateNegInf      = math.MinInt32
	DatePosInf      = math.MaxInt32
	TimestampNegInf = math.MinInt64
	TimestampPosInf = math.MaxInt64

	minDate      = -2451545
	endDate      = 2145031949
	minTimestamp = minDate * microsPerDay
	endTimestamp = 9223371331200000000
)

func errTimestampRange() error {
	return pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp out of range")
}

func errDateRange() error { return pgerr.New(pgerr.DatetimeFieldOverflow, "date out of range") }

func errIntervalRange() error {
	return pgerr.New(pgerr.DatetimeFieldOverflow, "interval out of range")
}

// DateFinite reports whether a date is not ±infinity.
func DateFinite(d int64) bool { return d != DateNegInf && d != DatePosInf }

// TimestampFinite reports whether a timestamp is not ±infinity.
func TimestampFinite(t int64) bool { return t != TimestampNegInf && t != TimestampPosInf }

func validDate(d int64) bool      { return d >= minDate && d < endDate }
func validTimestamp(t int64) bool { return t >= minTimestamp && t < endTimestamp }

// MicrosOf gives the instant of t, which must be within timestamptz's range.
func MicrosOf(t time.Time) Micros {
	return Micros((t.Unix()-unixEpochSeconds)*microsPerSecond + int64(t.Nanosecond()/1000))
}

// Time gives the instant as a time.Time in UTC.
func (m Micros) Time() time.Time {
	s, us := floorDiv(int64(m), microsPerSecond)
	return time.Unix(s+unixEpochSeconds, us*1000).UTC()
}

// floorDiv gives the quotient rounded down and the remainder ≥ 0, d > 0.
func floorDiv(n, d int64) (q, r int64) {
	q, r = n/d, n%d
	if r < 0 {
		q, r = q-1, r+d
	}
	return q, r
}

// CivilFromDays gives the proleptic Gregorian date of a day since 2000-01-01.
// Year 0 is 1 BC.
func CivilFromDays(days int64) (year int64, month, day int) {
	// Eras of 400 years that begin on 1 March.
	era, doe := floorDiv(days+730425, 146097)
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	day = int(doy - (153*mp+2)/5 + 1)
	month = int(mp + 3)
	year = yoe + era*400
	if month > 12 {
		month -= 12
		year++
	}
	return year, month, day
}

// DaysFromCivil undoes CivilFromDays. The day may lie outside its month.
func DaysFromCivil(year int64, month, day int) int64 {
	if month <= 2 {
		year--
	}
	era, yoe := floorDiv(year, 400)
	doy := int64((153*((month+9)%12)+2)/5 + day - 1)
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 730425
}

func leapYear(y int64) bool { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }

func daysInMonth(year int64, month int) int {
	switch month {
	case 2:
		if leapYear(year) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// weekday gives 0 for Sunday to 6.
func weekday(days int64) int64 {
	_, r := floorDiv(days+6, 7)
	return r
}

// isoWeek gives the ISO 8601 year and week of a day.
func isoWeek(days int64) (year, week int64) {
	monday := days - (weekday(days)+6)%7
	year, _, _ = CivilFromDays(monday + 3) // the year of its Thursday
	return year, (monday+3-DaysFromCivil(year, 1, 1))/7 + 1
}

// offsetAt gives loc's seconds east of UTC at an instant.
func offsetAt(unix int64, loc *time.Location) int64 {
	if loc == time.UTC {
		return 0
	}
	_, off := time.Unix(unix, 0).In(loc).Zone()
	return int64(off)
}

// TimestamptzToLocal gives the wall clock's timestamp in loc at an instant.
func TimestamptzToLocal(t int64, loc *time.Location) int64 {
	if loc == time.UTC || !TimestampFinite(t) {
		return t
	}
	s, _ := floorDiv(t, microsPerSecond)
	return t + offsetAt(s+unixEpochSeconds, loc)*microsPerSecond
}

// TimestampFromLocal gives the instant at which loc's wall clock shows t. A
// time that the clock skips is read with the offset before the gap, one that
// it shows twice is the later, as in PostgreSQL.
func TimestampFromLocal(t int64, loc *time.Location) (int64, error) {
	if loc == time.UTC || !TimestampFinite(t) {
		return t, nil
	}
	s, _ := floorDiv(t, microsPerSecond)
	s += unixEpochSeconds
	off, after := offsetAt(s-secondsPerDay, loc), offsetAt(s+secondsPerDay, loc)
	if off != after && offsetAt(s-after, loc) == after {
		off = after
	}
	u := t - off*microsPerSecond
	if !validTimestamp(u) {
		return 0, errTimestampRange()
	}
	return u, nil
}

// DateToTimestamp gives midnight of a date.
func DateToTimestamp(d int64) (int64, error) {
	switch {
	case d == DateNegInf:
		return TimestampNegInf, nil
	case d == DatePosInf:
		return TimestampPosInf, nil
	case d >= endTimestamp/microsPerDay:
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "date out of range for timestamp")
	}
	return d * microsPerDay, nil
}

// TimestampToDate gives the date of a timestamp.
func TimestampToDate(t int64) int64 {
	switch t {
	case TimestampNegInf:
		return DateNegInf
	case TimestampPosInf:
		return DatePosInf
	}
	d, _ := floorDiv(t, microsPerDay)
	return d
}

// DateAdd gives the date n days after d.
func DateAdd(d, n int64) (int64, error) {
	if !DateFinite(d) {
		return d, nil
	}
	if r := d + n; n >= -1<<32 && n <= 1<<32 && validDate(r) {
		return r, nil
	}
	return 0, errDateRange()
}

// DateSub gives a - b in days.
func DateSub(a, b int64) (int64, error) {
	if !DateFinite(a) || !DateFinite(b) {
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "cannot subtract infinite dates")
	}
	return a - b, nil
}

// TimestampAdd gives t + iv: first the months, the day cut to the month's
// length, then the days, then the time.
func TimestampAdd(t int64, iv IntervalValue) (int64, error) {
	if !TimestampFinite(t) {
		return t, nil
	}
	t, err := addMonthsDays(t, iv)
	if err != nil {
		return 0, err
	}
	r := t + iv.Micros
	if iv.Micros > 0 && r < t || iv.Micros < 0 && r > t || !validTimestamp(r) {
		return 0, errTimestampRange()
	}
	return r, nil
}

// TimestamptzAdd is TimestampAdd with months and days counted in loc.
func TimestamptzAdd(t int64, iv IntervalValue, loc *time.Location) (int64, error) {
	if loc == time.UTC || !TimestampFinite(t) || iv.Months == 0 && iv.Days == 0 {
		return TimestampAdd(t, iv)
	}
	local, err := addMonthsDays(TimestamptzToLocal(t, loc), iv)
	if err != nil {
		return 0, err
	}
	if t, err = TimestampFromLocal(local, loc); err != nil {
		return 0, err
	}
	return TimestampAdd(t, IntervalValue{Micros: iv.Micros})
}

func addMonthsDays(t int64, iv IntervalValue) (int64, error) {
	if iv.Months == 0 && iv.Days == 0 {
		return t, nil
	}
	days, tod := floorDiv(t, microsPerDay)
	if iv.Months != 0 {
		y, m, d := CivilFromDays(days)
		q, r := floorDiv(y*12+int64(m-1)+int64(iv.Months), 12)
		days = DaysFromCivil(q, int(r)+1, min(d, daysInMonth(q, int(r)+1)))
		if days < minDate || days >= endTimestamp/microsPerDay {
			return 0, errTimestampRange()
		}
	}
	days += int64(iv.Days)
	if days < minDate || days >= endTimestamp/microsPerDay {
		return 0, errTimestampRange()
	}
	return days*microsPerDay + tod, nil
}

// TimestampSub gives a - b in days and time, both with the sign of the
// difference.
func TimestampSub(a, b int64) (IntervalValue, error) {
	if !TimestampFinite(a) || !TimestampFinite(b) {
		return IntervalValue{}, pgerr.New(pgerr.DatetimeFieldOverflow, "cannot subtract infinite timestamps")
	}
	d := a - b
	if (a < b) != (d < 0) {
		return IntervalValue{}, errIntervalRange()
	}
	return IntervalValue{Days: int32(d / microsPerDay), Micros: d % microsPerDay}, nil
}
