package types

import (
	"strconv"
	"time"
)

// AppendDate appends a date in ISO style.
func AppendDate(dst []byte, d int64) []byte {
	switch d {
	case DateNegInf:
		return append(dst, "-infinity"...)
	case DatePosInf:
		return append(dst, "infinity"...)
	}
	y, m, day := CivilFromDays(d)
	return appendEra(appendYMD(dst, y, m, day), y)
}

func appendYMD(dst []byte, y int64, m, d int) []byte {
	if y <= 0 {
		y = 1 - y
	}
	if y < 10000 {
		dst = append(dst, byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10))
	} else {
		dst = strconv.AppendInt(dst, y, 10)
	}
	return append(dst, '-', byte('0'+m/10), byte('0'+m%10), '-', byte('0'+d/10), byte('0'+d%10))
}

func appendEra(dst []byte, y int64) []byte {
	if y <= 0 {
		return append(dst, " BC"...)
	}
	return dst
}

// appendClock appends HH:MM:SS and the fraction of a second without trailing
// zeros. us ≥ 0; hours have at least two digits.
func appendClock(dst []byte, us uint64) []byte {
	h, s, f := us/microsPerHour, us/microsPerSecond%3600, us%microsPerSecond
	if h < 100 {
		dst = append(dst, byte('0'+h/10), byte('0'+h%10))
	} else {
		dst = strconv.AppendUint(dst, h, 10)
	}
	m := s / 60
	s %= 60
	dst = append(dst, ':', byte('0'+m/10), byte('0'+m%10), ':', byte('0'+s/10), byte('0'+s%10))
	if f == 0 {
		return dst
	}
	dst = append(dst, '.')
	for p := uint64(100000); f > 0; p /= 10 {
		dst = append(dst, byte('0'+f/p))
		f %= p
	}
	return dst
}

// AppendTimestamp appends a timestamp in ISO style.
func AppendTimestamp(dst []byte, t int64) []byte {
	switch t {
	case TimestampNegInf:
		return append(dst, "-infinity"...)
	case TimestampPosInf:
		return append(dst, "infinity"...)
	}
	days, tod := floorDiv(t, microsPerDay)
	y, m, d := CivilFromDays(days)
	dst = append(appendYMD(dst, y, m, d), ' ')
	return appendEra(appendClock(dst, uint64(tod)), y)
}

// AppendTimestamptz appends an instant in ISO style as seen in loc.
func AppendTimestamptz(dst []byte, t int64, loc *time.Location) []byte {
	if !TimestampFinite(t) {
		return AppendTimestamp(dst, t)
	}
	local := TimestamptzToLocal(t, loc)
	days, tod := floorDiv(local, microsPerDay)
	y, m, d := CivilFromDays(days)
	dst = append(appendYMD(dst, y, m, d), ' ')
	dst = appendOffset(appendClock(dst, uint64(tod)), int(local-t)/microsPerSecond)
	return appendEra(dst, y)
}

// appendOffset appends seconds east of UTC as ±HH[:MM[:SS]].
func appendOffset(dst []byte, off int) []byte {
	sign := byte('+')
	if off < 0 {
		sign, off = '-', -off
	}
	h, m, s := off/3600, off/60%60, off%60
	dst = append(dst, sign, byte('0'+h/10), byte('0'+h%10))
	if m != 0 || s != 0 {
		dst = append(dst, ':', byte('0'+m/10), byte('0'+m%10))
	}
	if s != 0 {
		dst = append(dst, ':', byte('0'+s/10), byte('0'+s%10))
	}
	return dst
}

// AppendInterval appends an interval in style postgres.
func AppendInterval(dst []byte, iv IntervalValue) []byte {
	start := len(dst)
	negative := false // of the part before, after which a positive one shows +
	part := func(n int64, unit string) {
		if n == 0 {
			return
		}
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		if negative && n > 0 {
			dst = append(dst, '+')
		}
		negative = n < 0
		dst = append(append(strconv.AppendInt(dst, n, 10), ' '), unit...)
		if n != 1 {
			dst = append(dst, 's')
		}
	}
	part(int64(iv.Months/12), "year")
	part(int64(iv.Months%12), "mon")
	part(int64(iv.Days), "day")
	if iv.Micros == 0 && len(dst) > start {
		return dst
	}
	if len(dst) > start {
		dst = append(dst, ' ')
	}
	us := uint64(iv.Micros)
	if iv.Micros < 0 {
		dst = append(dst, '-')
		us = -us
	} else if negative {
		dst = append(dst, '+')
	}
	return appendClock(dst, us)
}
