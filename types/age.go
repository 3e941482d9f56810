package types

import (
	"math"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// Age gives a - b in years, months, days and time, as a calendar tells it:
// months are counted from the earlier, and what is left in days is of the
// length of its month.
func Age(a, b int64) (IntervalValue, error) {
	if !TimestampFinite(a) || !TimestampFinite(b) {
		return IntervalValue{}, errTimestampRange()
	}
	neg := a < b
	if neg {
		a, b = b, a
	}
	da, ta := floorDiv(a, microsPerDay)
	db, tb := floorDiv(b, microsPerDay)
	ya, ma, dayA := CivilFromDays(da)
	yb, mb, dayB := CivilFromDays(db)
	us, days, months := ta-tb, int64(dayA-dayB), (ya-yb)*12+int64(ma-mb)
	if us < 0 {
		us += microsPerDay
		days--
	}
	// Days are borrowed from the earlier one's month.
	for days < 0 {
		days += int64(daysInMonth(yb, mb))
		months--
	}
	r := IntervalValue{Months: int32(months), Days: int32(days), Micros: us}
	if neg {
		return IntervalNeg(r)
	}
	return r, nil
}

// JustifyDays makes months of each 30 days.
func JustifyDays(a IntervalValue) (IntervalValue, error) {
	months, days := int64(a.Months)+int64(a.Days/30), a.Days%30
	switch {
	case months > 0 && days < 0:
		days, months = days+30, months-1
	case months < 0 && days > 0:
		days, months = days-30, months+1
	}
	if months != int64(int32(months)) {
		return IntervalValue{}, errIntervalRange()
	}
	return IntervalValue{Months: int32(months), Days: days, Micros: a.Micros}, nil
}

// JustifyInterval makes days of each 24 hours and months of each 30 days, all
// with one sign.
func JustifyInterval(a IntervalValue) (IntervalValue, error) {
	days, months := int64(a.Days), int64(a.Months)
	us := a.Micros
	if days > 0 && us > 0 || days < 0 && us < 0 {
		months += days / 30
		days %= 30
	}
	days += us / microsPerDay
	us %= microsPerDay
	months += days / 30
	days %= 30
	switch {
	case months > 0 && (days < 0 || days == 0 && us < 0):
		days, months = days+30, months-1
	case months < 0 && (days > 0 || days == 0 && us > 0):
		days, months = days-30, months+1
	}
	switch {
	case days > 0 && us < 0:
		us, days = us+microsPerDay, days-1
	case days < 0 && us > 0:
		us, days = us-microsPerDay, days+1
	}
	if months != int64(int32(months)) || days != int64(int32(days)) {
		return IntervalValue{}, errIntervalRange()
	}
	return IntervalValue{Months: int32(months), Days: int32(days), Micros: us}, nil
}

// DateBin gives the beginning of t's bin: bins are stride long and one begins
// at origin.
func DateBin(stride IntervalValue, t, origin int64) (int64, error) {
	switch {
	case !TimestampFinite(t):
		return t, nil
	case !TimestampFinite(origin):
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "origin out of range")
	case stride.Months != 0:
		return 0, pgerr.New(pgerr.FeatureNotSupported, "timestamps cannot be binned into intervals containing months or years")
	}
	days := int64(stride.Days)
	if days > math.MaxInt64/microsPerDay || days < math.MinInt64/microsPerDay {
		return 0, errIntervalRange()
	}
	width := days*microsPerDay + stride.Micros
	if stride.Micros > 0 && width < days*microsPerDay || stride.Micros < 0 && width > days*microsPerDay {
		return 0, errIntervalRange()
	}
	if width <= 0 {
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "stride must be greater than zero")
	}
	d := t - origin
	if (t < origin) != (d < 0) {
		return 0, errTimestampRange()
	}
	_, rem := floorDiv(d, width)
	r := t - rem
	if r > t || !validTimestamp(r) {
		return 0, errTimestampRange()
	}
	return r, nil
}

// MakeDate gives a date; a negative year is BC. 22008 for none.
func MakeDate(year, month, day int64) (int64, error) {
	y := year
	if y < 0 {
		y++
	}
	if year == 0 || month < 1 || month > 12 || day < 1 || y < -4800 || y > 6000000 || int(day) > daysInMonth(y, int(month)) {
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "date field value out of range: %d-%02d-%02d", year, month, day)
	}
	d := DaysFromCivil(y, int(month), int(day))
	if !validDate(d) {
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "date out of range: %d-%02d-%02d", year, month, day)
	}
	return d, nil
}

// MakeTimestamp gives a timestamp; 22008 for none.
func MakeTimestamp(year, month, day, hour, minute int64, sec float64) (int64, error) {
	d, err := MakeDate(year, month, day)
	if err != nil {
		return 0, err
	}
	tod, err := MakeTime(hour, minute, sec)
	if err != nil {
		return 0, err
	}
	if d > endTimestamp/microsPerDay {
		return 0, errTimestampRange()
	}
	if t := d*microsPerDay + tod; validTimestamp(t) {
		return t, nil
	}
	return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp out of range: %d-%02d-%02d %d:%02d:%02g", year, month, day, hour, minute, sec)
}

// MakeInterval gives an interval of its parts; 22008 beyond its range.
func MakeInterval(years, months, weeks, days, hours, minutes int64, secs float64) (IntervalValue, error) {
	us := math.RoundToEven(secs * microsPerSecond)
	m, d := years*12+months, weeks*7+days
	t := hours*microsPerHour + minutes*microsPerMinute
	if m != int64(int32(m)) || d != int64(int32(d)) || math.IsNaN(us) || math.Abs(us) > math.MaxInt64/4 {
		return IntervalValue{}, errIntervalRange()
	}
	return IntervalValue{Months: int32(m), Days: int32(d), Micros: t + int64(us)}, nil
}

// IntervalZone gives the zone that is an interval east of UTC.
func IntervalZone(iv IntervalValue) (*time.Location, error) {
	if iv.Months != 0 || iv.Days != 0 {
		return nil, pgerr.New(pgerr.InvalidParameterValue, "interval time zone \"%s\" must not include months or days", AppendInterval(nil, iv))
	}
	return time.FixedZone("", int(iv.Micros/microsPerSecond)), nil
}

// ZoneOffsetAt gives a zone's seconds east of UTC at an instant.
func ZoneOffsetAt(t int64, loc *time.Location) int64 {
	s, _ := floorDiv(t, microsPerSecond)
	return offsetAt(s+unixEpochSeconds, loc)
}
