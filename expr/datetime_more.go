package expr

import (
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// calendarFuncs are the functions on dates and times that make, bin and move
// them between zones.
func calendarFuncs() []*Func {
	const (
		d, ts, tz, iv = types.Date, types.Timestamp, types.Timestamptz, types.Interval
		tm, tt, u     = types.Time, types.Timetz, types.Uuid
		i4, f8, txt   = types.Int4, types.Float8, types.Text
	)
	fs := []*Func{
		fn("justify_days", iv, unary(intervals, intervals, types.JustifyDays), iv),
		fn("justify_interval", iv, unary(intervals, intervals, types.JustifyInterval), iv),
		fn("make_date", d, func(f *frame) {
			f.makeInt(func(r int) (int64, error) { return types.MakeDate(f.int(0, r), f.int(1, r), f.int(2, r)) })
		}, i4, i4, i4),
		fn("make_time", tm, func(f *frame) {
			f.makeInt(func(r int) (int64, error) { return types.MakeTime(f.int(0, r), f.int(1, r), f.args[2].F64[r]) })
		}, i4, i4, f8),
		fn("make_timestamp", ts, makeTimestamp, i4, i4, i4, i4, i4, f8),
		fn("make_timestamptz", tz, makeTimestamp, i4, i4, i4, i4, i4, f8),
		fn("make_timestamptz", tz, makeTimestamp, i4, i4, i4, i4, i4, f8, txt),
		fn("date_trunc", tz, truncInZone, txt, tz, txt),
		bound("timezone", tz, bindZone(txt, ts), txt, ts), bound("timezone", ts, bindZone(txt, tz), txt, tz), bound("timezone", tt, bindZone(txt, tt), txt, tt),
		bound("timezone", tz, bindZone(iv, ts), iv, ts), bound("timezone", ts, bindZone(iv, tz), iv, tz), bound("timezone", tt, bindZone(iv, tt), iv, tt),
	}
	makeKinds := []types.Kind{i4, i4, i4, i4, i4, i4, f8}
	for n := 1; n <= len(makeKinds); n++ {
		fs = append(fs, fn("make_interval", iv, makeInterval, makeKinds[:n]...))
	}
	for _, k := range []types.Kind{ts, tz} {
		fs = append(fs, fn("age", iv, binaryOp(ints, ints, intervals, types.Age), k, k))
		since := fn("age", iv, func(f *frame) {
			today, _ := types.DateToTimestamp(types.TimestampToDate(int64(f.p.Now)))
			for _, r := range f.rows() {
				v, err := types.Age(today, f.args[0].I64[r])
				if err != nil {
					f.fail(int(r), err)
					continue
				}
				f.out.Iv[r] = v
			}
		}, k)
		since.Volatility = Stable
		fs = append(fs, since, fn("date_bin", k, func(f *frame) {
			f.makeInt(func(r int) (int64, error) { return types.DateBin(f.args[0].Iv[r], f.int(1, r), f.int(2, r)) })
		}, iv, k, k))
	}
	for _, k := range []types.Kind{ts, tz, tm} {
		f := safe("overlaps", types.Bool, overlaps, k, k, k, k)
		f.Strict = false
		fs = append(fs, f)
	}
	random := safe("gen_random_uuid", u, func(f *frame) {
		for _, r := range f.rows() {
			x := types.NewUUID()
			setText(f, int(r), x[:])
		}
	})
	random.Volatility = Volatile
	return append(append(fs, random), moreClocks()...)
}

// int gives an integer argument.
func (f *frame) int(i, r int) int64 { return f.args[i].I64[r] }

func (f *frame) makeInt(value func(r int) (int64, error)) {
	for _, r := range f.rows() {
		v, err := value(int(r))
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		f.out.I64[r] = v
	}
}

func makeTimestamp(f *frame) {
	f.makeInt(func(r int) (int64, error) {
		t, err := types.MakeTimestamp(f.int(0, r), f.int(1, r), f.int(2, r), f.int(3, r), f.int(4, r), f.args[5].F64[r])
		if err != nil || len(f.args) < 7 {
			return t, err
		}
		loc, err := zoneNamed(f.args[6].Bytes(r))
		if err != nil {
			return 0, err
		}
		return types.TimestampFromLocal(t, loc)
	})
}

// zoneNamed gives a zone by name, or by ±HH[:MM] east of UTC in make_timestamptz
// and, as POSIX says it, west of it elsewhere.
func zoneNamed(name []byte) (*time.Location, error) {
	if len(name) > 0 && (name[0] == '+' || name[0] == '-') {
		t, err := types.ParseTimetz("00:00"+string(name), time.UTC)
		if err != nil {
			return nil, pgerr.New(pgerr.InvalidParameterValue, "invalid input syntax for type numeric time zone: \"%s\"", name)
		}
		return time.FixedZone("", -int(t.Months)), nil
	}
	return types.LoadZone(string(name))
}

func makeInterval(f *frame) {
	for _, r := range f.rows() {
		var n [6]int64
		secs := 0.0
		for i, a := range f.args {
			if i < len(n) {
				n[i] = a.I64[r]
			} else {
				secs = a.F64[r]
			}
		}
		v, err := types.MakeInterval(n[0], n[1], n[2], n[3], n[4], n[5], secs)
		if err != nil {
			f.fail(int(r), err)
			continue
		}
		f.out.Iv[r] = v
	}
}

// zoneCache keeps the zone that the last row named.
type zoneCache struct {
	name string
	loc  *time.Location
}

func (z *zoneCache) get(name []byte) (*time.Location, error) {
	if z.loc != nil && z.name == string(name) {
		return z.loc, nil
	}
	loc, err := posixOrNamed(string(name))
	if err != nil {
		return nil, err
	}
	z.name, z.loc = string(name), loc
	return loc, nil
}

// posixOrNamed gives a zone of AT TIME ZONE: a name, or an offset, which is
// POSIX's, west of UTC.
func posixOrNamed(name string) (*time.Location, error) {
	if len(name) > 1 && (name[0] == '+' || name[0] == '-') {
		if t, err := types.ParseTimetz("00:00"+name, time.UTC); err == nil {
			return time.FixedZone("", int(t.Months)), nil
		}
	}
	return types.LoadZone(name)
}

func truncInZone(f *frame) {
	var z zoneCache
	for _, r := range f.rows() {
		t := f.int(1, int(r))
		if !types.TimestampFinite(t) {
			f.out.I64[r] = t
			continue
		}
		loc, err := z.get(f.args[2].Bytes(int(r)))
		var field types.Field
		if err == nil {
			field, err = types.TruncField(string(f.args[0].Bytes(int(r))), types.T(types.Timestamptz))
		}
		if err == nil {
			f.out.I64[r], err = types.TruncTimestamptz(field, t, loc)
		}
		if err != nil {
			f.fail(int(r), err)
		}
	}
}

// bindZone is AT TIME ZONE: a wall clock's time becomes an instant, an instant
// a wall clock's time, and a time with zone one of another zone.
func bindZone(by, of types.Kind) func(*Call) (kernel, error) {
	return func(*Call) (kernel, error) {
		var z zoneCache
		return func(f *frame) {
			for _, r := range f.rows() {
				var loc *time.Location
				var err error
				if of != types.Timetz && !types.TimestampFinite(f.int(1, int(r))) {
					f.out.I64[r] = f.int(1, int(r))
					continue
				}
				if by == types.Interval {
					loc, err = types.IntervalZone(f.args[0].Iv[r])
				} else {
					loc, err = z.get(f.args[0].Bytes(int(r)))
				}
				switch {
				case err != nil:
				case of == types.Timestamp:
					f.out.I64[r], err = types.TimestampFromLocal(f.int(1, int(r)), loc)
				case of == types.Timestamptz:
					f.out.I64[r] = types.TimestamptzToLocal(f.int(1, int(r)), loc)
					if t := f.out.I64[r]; types.TimestampFinite(t) {
						_, err = types.TimestampAdd(t, types.IntervalValue{})
					}
				default:
					f.out.Iv[r] = types.ShiftTimetz(f.args[1].Iv[r], int32(-types.ZoneOffsetAt(int64(f.p.Now), loc)))
				}
				if err != nil {
					f.fail(int(r), err)
				}
			}
		}, nil
	}
}

// overlaps is SQL's OVERLAPS of two spans, of which one end may be NULL.
func overlaps(f *frame) {
	for _, r := range f.rows() {
		yes, ok := spansOverlap(f, int(r))
		if !ok {
			f.setNull(int(r))
			continue
		}
		f.out.Bool[r] = yes
	}
}

func spansOverlap(f *frame, r int) (yes, ok bool) {
	type end struct {
		v    int64
		null bool
	}
	span := func(i int) (s, e end, ok bool) {
		s, e = end{f.args[i].I64[r], f.args[i].Null(r)}, end{f.args[i+1].I64[r], f.args[i+1].Null(r)}
		switch {
		case s.null && e.null:
			return s, e, false
		case s.null, !e.null && s.v > e.v:
			s, e = e, s
		}
		return s, e, true
	}
	s1, e1, ok1 := span(0)
	s2, e2, ok2 := span(2)
	if !ok1 || !ok2 {
		return false, false
	}
	if s1.v < s2.v {
		s1, e1, s2, e2 = s2, e2, s1, e1
	}
	if s1.v > s2.v { // s1 is the later beginning
		switch {
		case e2.null:
			return false, false
		case s1.v < e2.v:
			return true, true
		case e1.null:
			return false, false
		}
		return false, true
	}
	if e1.null || e2.null {
		return false, false
	}
	return true, true
}

// moreClocks are now() by its other names and as a time of day.
func moreClocks() []*Func {
	stable := func(name string, k types.Kind, set func(f *frame, r int)) *Func {
		f := safe(name, k, func(f *frame) {
			for _, r := range f.rows() {
				set(f, int(r))
			}
		})
		f.Volatility = Stable
		return f
	}
	now := func(f *frame, r int) { f.out.I64[r] = int64(f.p.Now) }
	return []*Func{
		stable("statement_timestamp", types.Timestamptz, now), stable("transaction_timestamp", types.Timestamptz, now),
		stable("localtime", types.Time, func(f *frame, r int) { f.out.I64[r] = types.TimestampToTime(int64(f.p.Now)) }),
		stable("current_time", types.Timetz, func(f *frame, r int) {
			f.out.Iv[r] = types.IntervalValue{Micros: types.TimestampToTime(int64(f.p.Now))}
		}),
	}
}
