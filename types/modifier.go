package types

import (
	"math"
	"unicode/utf8"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// charModBase is what a length has added to it in the modifier of varchar and
// character, as in PostgreSQL.
const charModBase = 4

// maxCharLength and maxPrecision bound modifiers as PostgreSQL does.
const (
	maxCharLength = 10485760
	maxPrecision  = 6
)

// intervalRangeAll says that all fields of an interval are kept; a precision
// is in the lower half of the modifier.
const intervalRangeAll = 0x7fff << 16

func charType(k Kind, mods []int64) (Type, error) {
	name := "varchar"
	if k == Bpchar {
		name = "char"
	}
	switch {
	case len(mods) > 1:
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "invalid type modifier")
	case mods[0] < 1:
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "length for type %s must be at least 1", name)
	case mods[0] > maxCharLength:
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "length for type %s cannot exceed %d", name, maxCharLength)
	}
	return Type{Kind: k, Mod: int32(mods[0]) + charModBase}, nil
}

// precisionType is a time with so many digits after the second. More than six
// are six, as in PostgreSQL, which warns.
func precisionType(k Kind, mods []int64) (Type, error) {
	if len(mods) > 1 {
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "invalid type modifier")
	}
	p := mods[0]
	if p < 0 {
		if k == Interval {
			return Type{}, pgerr.New(pgerr.InvalidParameterValue, "INTERVAL(%d) precision must not be negative", p)
		}
		word, zone := "TIME", ""
		if k == Timestamp || k == Timestamptz {
			word = "TIMESTAMP"
		}
		if k == Timetz || k == Timestamptz {
			zone = " WITH TIME ZONE"
		}
		return Type{}, pgerr.New(pgerr.InvalidParameterValue, "%s(%d)%s precision must not be negative", word, p, zone)
	}
	mod := int32(min(p, maxPrecision))
	if k == Interval {
		mod |= intervalRangeAll
	}
	return Type{Kind: k, Mod: mod}, nil
}

// intervalPrecision gives the digits after the second that a modifier of
// interval keeps.
func intervalPrecision(mod int32) (int, bool) {
	p := int(mod & 0xffff)
	return p, mod >= 0 && p <= maxPrecision
}

// ApplyMod makes d a value of type t, which has its kind: rounded to t's
// precision, cut or padded to its length. What is too long for a length is
// cut if the cast was explicit, else an error (22001) unless it is blank.
func ApplyMod(d Datum, t Type, explicit bool) (Datum, error) {
	d.Type = t
	if d.Null || t.Mod < 0 {
		return d, nil
	}
	switch t.Kind {
	case Numeric:
		n, err := NumApplyMod(DecodeNumeric(d.B), t.Mod)
		if err != nil {
			return Datum{}, err
		}
		d.B = n.Append(nil)
	case Varchar, Bpchar:
		b, err := fitChars(d.B, t, explicit)
		if err != nil {
			return Datum{}, err
		}
		d.B = b
	case Time:
		d.I = roundPrecision(d.I, int(t.Mod))
	case Timetz:
		d.Iv.Micros = roundPrecision(d.Iv.Micros, int(t.Mod))
	case Timestamp, Timestamptz:
		if TimestampFinite(d.I) {
			d.I = roundPrecision(d.I, int(t.Mod))
		}
	case Interval:
		if p, ok := intervalPrecision(t.Mod); ok {
			d.Iv.Micros = roundPrecision(d.Iv.Micros, p)
		}
	}
	return d, nil
}

// roundPrecision rounds µs to a number of digits after the second, halves away
// from zero.
func roundPrecision(us int64, digits int) int64 {
	unit := int64(1)
	for ; digits < maxPrecision; digits++ {
		unit *= 10
	}
	half := unit / 2
	if us < 0 {
		if us < math.MinInt64+half {
			return us
		}
		return -((-us + half) / unit * unit)
	}
	if us > math.MaxInt64-half {
		return us
	}
	return (us + half) / unit * unit
}

// fitChars cuts b to a number of characters, and pads it with blanks if it is
// a character(n).
func fitChars(b []byte, t Type, explicit bool) ([]byte, error) {
	n := int(t.Mod) - charModBase
	if len(b) <= n && t.Kind == Varchar {
		return b, nil
	}
	have, at := 0, 0
	for at < len(b) && have < n {
		_, w := utf8.DecodeRune(b[at:])
		at += w
		have++
	}
	if at < len(b) {
		if !explicit {
			for _, c := range b[at:] {
				if c != ' ' {
					return nil, pgerr.New(pgerr.StringDataRightTruncation, "value too long for type %s", t)
				}
			}
		}
		return b[:at:at], nil
	}
	if t.Kind == Bpchar && have < n {
		padded := make([]byte, len(b), len(b)+n-have)
		copy(padded, b)
		for ; have < n; have++ {
			padded = append(padded, ' ')
		}
		return padded, nil
	}
	return b, nil
}
