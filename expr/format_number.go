package expr

import (
	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// numberFormatFuncs are to_char of numbers.
func numberFormatFuncs() []*Func {
	const txt = types.Text
	var fs []*Func
	for _, k := range []types.Kind{types.Int4, types.Int8, types.Float4, types.Float8, types.Numeric} {
		fs = append(fs, fn("to_char", txt, formatNumbers(k), k, txt))
	}
	for _, k := range []types.Kind{types.Timestamptz, types.Date} {
		name := "to_timestamp"
		if k == types.Date {
			name = "to_date"
		}
		fs = append(fs, fn(name, k, parseInstants(k), txt, txt))
	}
	return fs
}

func formatNumbers(k types.Kind) kernel {
	return func(f *frame) {
		var format types.NumberFormat
		parsed, ready := "", false
		var err error
		for _, r := range f.rows() {
			p := f.args[1].Bytes(int(r))
			if !ready || parsed != string(p) {
				parsed, ready = string(p), true
				err = format.Parse(parsed)
			}
			b := f.buf[:0]
			bad := err
			if bad == nil {
				switch v := f.args[0]; k {
				case types.Int4, types.Int8:
					b, bad = format.AppendInt(b, v.I64[r])
				case types.Float4:
					b, bad = format.AppendFloat(b, v.F64[r], 6)
				case types.Float8:
					b, bad = format.AppendFloat(b, v.F64[r], 15)
				default:
					b, bad = format.AppendNumeric(b, types.DecodeNumeric(v.Bytes(int(r))))
				}
			}
			if bad != nil {
				f.fail(int(r), bad)
				continue
			}
			f.buf = b
			setText(f, int(r), b)
		}
	}
}

// parseInstants is to_timestamp and to_date by a pattern.
func parseInstants(k types.Kind) kernel {
	return func(f *frame) {
		for _, r := range f.rows() {
			t, err := types.ParseByFormat(string(f.args[0].Bytes(int(r))), string(f.args[1].Bytes(int(r))))
			if err == nil && k == types.Date {
				t = types.TimestampToDate(t)
			}
			if err != nil {
				f.fail(int(r), pgerr.From(err))
				continue
			}
			f.out.I64[r] = t
		}
	}
}
