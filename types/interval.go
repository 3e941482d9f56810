package types

import "math"

// IntervalNeg gives -a.
func IntervalNeg(a IntervalValue) (IntervalValue, error) {
	if a.Months == math.MinInt32 || a.Days == math.MinInt32 || a.Micros == math.MinInt64 {
		return IntervalValue{}, errIntervalRange()
	}
	return IntervalValue{Months: -a.Months, Days: -a.Days, Micros: -a.Micros}, nil
}

// IntervalAdd gives a + b, field by field.
func IntervalAdd(a, b IntervalValue) (IntervalValue, error) {
	r := IntervalValue{Months: a.Months + b.Months, Days: a.Days + b.Days, Micros: a.Micros + b.Micros}
	if int64(r.Months) != int64(a.Months)+int64(b.Months) || int64(r.Days) != int64(a.Days)+int64(b.Days) ||
		(b.Micros > 0) != (r.Micros > a.Micros) && b.Micros != 0 {
		return IntervalValue{}, errIntervalRange()
	}
	return r, nil
}

// IntervalSub gives a - b, field by field.
func IntervalSub(a, b IntervalValue) (IntervalValue, error) {
	r := IntervalValue{Months: a.Months - b.Months, Days: a.Days - b.Days, Micros: a.Micros - b.Micros}
	if int64(r.Months) != int64(a.Months)-int64(b.Months) || int64(r.Days) != int64(a.Days)-int64(b.Days) ||
		(b.Micros > 0) != (r.Micros < a.Micros) && b.Micros != 0 {
		return IntervalValue{}, errIntervalRange()
	}
	return r, nil
}

// IntervalMul gives a × f. Fractions of months become days of 30 to a month,
// fractions of days become time.
func IntervalMul(a IntervalValue, f float64) (IntervalValue, error) {
	return scaleInterval(float64(a.Months)*f, float64(a.Days)*f, float64(a.Micros)*f)
}

// IntervalDiv gives a / f by the rules of IntervalMul.
func IntervalDiv(a IntervalValue, f float64) (IntervalValue, error) {
	if f == 0 {
		return IntervalValue{}, errDivisionByZero()
	}
	return scaleInterval(float64(a.Months)/f, float64(a.Days)/f, float64(a.Micros)/f)
}

func scaleInterval(months, days, micros float64) (IntervalValue, error) {
	if !fitsInt32(months) || !fitsInt32(days) {
		return IntervalValue{}, errIntervalRange()
	}
	m, d := math.Trunc(months), math.Trunc(days)
	extraDays := roundMicros((months - m) * 30)
	seconds := roundMicros((days - d + extraDays - math.Trunc(extraDays)) * secondsPerDay)
	carry := 0.0
	if math.Abs(seconds) >= secondsPerDay {
		carry = math.Trunc(seconds / secondsPerDay)
		seconds -= carry * secondsPerDay
	}
	d += carry + math.Trunc(extraDays)
	us := math.RoundToEven(micros + seconds*microsPerSecond)
	if !fitsInt32(d) || !(us >= math.MinInt64 && us < -math.MinInt64) {
		return IntervalValue{}, errIntervalRange()
	}
	return IntervalValue{Months: int32(m), Days: int32(d), Micros: int64(us)}, nil
}

func roundMicros(f float64) float64 { return math.RoundToEven(f*1e6) / 1e6 }

func fitsInt32(f float64) bool { return f >= math.MinInt32 && f < -math.MinInt32 }

// JustifyHours moves whole days of a's time into its days, so that both have
// one sign.
func JustifyHours(a IntervalValue) (IntervalValue, error) {
	days := int64(a.Days) + a.Micros/microsPerDay
	us := a.Micros % microsPerDay
	switch {
	case days > 0 && us < 0:
		us, days = us+microsPerDay, days-1
	case days < 0 && us > 0:
		us, days = us-microsPerDay, days+1
	}
	if days != int64(int32(days)) {
		return IntervalValue{}, errIntervalRange()
	}
	return IntervalValue{Months: a.Months, Days: int32(days), Micros: us}, nil
}
