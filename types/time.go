package types

import (
	"math"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// ParseTime reads PostgreSQL's input syntax of time. A date and a zone in it
// are ignored.
func ParseTime(s string) (int64, error) {
	dt, err := parseDateTime(Time, s)
	if err == nil && dt.zone != nil && !dt.dated && !fixedZone(dt.zone) {
		err = errInput(Time, s)
	}
	return dt.tod, err
}

// ParseTimetz reads PostgreSQL's input syntax of time with time zone. Input
// without a zone is in loc, as of its date or else of now.
func ParseTimetz(s string, loc *time.Location) (IntervalValue, error) {
	dt, err := parseDateTime(Timetz, s)
	if err != nil {
		return IntervalValue{}, err
	}
	off := dt.offset
	if !dt.zoned || dt.zone != nil {
		if dt.zone != nil {
			loc = dt.zone
		}
		at := time.Now().Unix()
		if dt.dated {
			local, err := TimestampFromLocal(dt.days*microsPerDay+dt.tod, loc)
			if err != nil {
				return IntervalValue{}, err
			}
			at, _ = floorDiv(local, microsPerSecond)
			at += unixEpochSeconds
		} else if dt.zone != nil && !fixedZone(loc) {
			return IntervalValue{}, errInput(Timetz, s)
		}
		off = offsetAt(at, loc)
	}
	return IntervalValue{Micros: dt.tod, Months: int32(-off)}, nil
}

// fixedZone reports whether a zone has the same offset in summer and winter.
func fixedZone(loc *time.Location) bool {
	return offsetAt(unixEpochSeconds, loc) == offsetAt(unixEpochSeconds+182*secondsPerDay, loc)
}

// AppendTime appends a time of day.
func AppendTime(dst []byte, t int64) []byte { return appendClock(dst, uint64(t)) }

// AppendTimetz appends a time with its zone.
func AppendTimetz(dst []byte, t IntervalValue) []byte {
	return appendOffset(appendClock(dst, uint64(t.Micros)), -int(t.Months))
}

// TimetzUTC gives the µs since midnight UTC of a time with time zone, which
// may lie outside the day.
func TimetzUTC(t IntervalValue) int64 { return t.Micros + int64(t.Months)*microsPerSecond }

// CompareTimetz orders by instant, then by zone: -1, 0 or 1.
func CompareTimetz(a, b IntervalValue) int {
	switch x, y := TimetzUTC(a), TimetzUTC(b); {
	case x < y:
		return -1
	case x > y:
		return 1
	case a.Months < b.Months:
		return -1
	case a.Months > b.Months:
		return 1
	}
	return 0
}

// MakeTime gives the time of day of an hour, minute and second; 22008 outside
// the day.
func MakeTime(hour, minute int64, sec float64) (int64, error) {
	us := math.RoundToEven(sec * microsPerSecond)
	if hour < 0 || minute < 0 || minute > 59 || !(sec >= 0) || us > 60*microsPerSecond || hour > 24 ||
		hour == 24 && (minute > 0 || us > 0) {
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "time field value out of range: %d:%02d:%02g", hour, minute, sec)
	}
	return (hour*60+minute)*microsPerMinute + int64(us), nil
}

// TimeAdd gives t + iv on a clock of 24 hours; only iv's time counts.
func TimeAdd(t int64, iv IntervalValue) int64 {
	_, r := floorDiv(t+iv.Micros%microsPerDay, microsPerDay)
	return r
}

// ExtractTime gives a field of a time of day.
func ExtractTime(f Field, t int64) Num {
	if f == FieldEpoch {
		return scaledNum(t, 6)
	}
	return extractTime(f, t%microsPerMinute, t/microsPerMinute%60, t/microsPerHour)
}

// ExtractTimetz gives a field of a time with time zone.
func ExtractTimetz(f Field, t IntervalValue) Num {
	off := -int64(t.Months)
	switch f {
	case FieldTimezone:
		return NumFromInt64(off)
	case FieldTimezoneHour:
		return NumFromInt64(off / 3600)
	case FieldTimezoneMinute:
		return NumFromInt64(off / 60 % 60)
	case FieldEpoch:
		return scaledNum(TimetzUTC(t), 6)
	}
	return ExtractTime(f, t.Micros)
}

// TimestampToTime gives the time of day of a finite timestamp.
func TimestampToTime(t int64) int64 {
	_, tod := floorDiv(t, microsPerDay)
	return tod
}

// ShiftTimetz gives the same instant with another zone, in seconds west.
func ShiftTimetz(t IntervalValue, west int32) IntervalValue {
	_, us := floorDiv(t.Micros+(int64(t.Months)-int64(west))*microsPerSecond, microsPerDay)
	return IntervalValue{Micros: us, Months: west}
}
