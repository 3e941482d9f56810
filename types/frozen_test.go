package types

import (
	"encoding/hex"
	"fmt"
	"testing"
)

// The encodings of the kinds after interval, which never change either.
func TestFrozenEncodingsOther(t *testing.T) {
	for _, c := range []struct {
		k                Kind
		text, key, image string
	}{
		{Int2, "-2", "017ffe", "00feff"},
		{Float4, "1.5", "01bff8000000000000", "00000000000000f83f"},
		{Varchar, "ab", "01616200", "00026162"},
		{Bpchar, "ab  ", "01616200", "000461622020"},
		{Bytea, "\\x6100", "016100ff0000", "00026100"},
		{Time, "01:02:03", "0180000000dde878c0", "00c078e8dd00000000"},
		{Timetz, "01:02:03+01", "01800000000754d4c07ffff1f0", "00c078e8dd0000000000000000f0f1ffff"},
		{Uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "01a0eebc999c0b4ef8bb6d6bb9bd380a11", "0010a0eebc999c0b4ef8bb6d6bb9bd380a11"},
		{Name, "ab", "01616200", "00026162"},
		{Oid, "4294967295", "01ffffffff", "00ffffffff"},
		{Char, "a", "016100", "000161"},
		{Json, "{}", "017b7d00", "00027b7d"},
		{Jsonb, "{\"a\": [1, null, true, \"x\"]}", "01110000000161000010000000040344000002c68af0bb140000010502780000", "001b7b2261223a205b312c206e756c6c2c20747275652c202278225d7d"},
		{ArrayOf(Int4), "{1,NULL}", "0101800000010200018000000280000001", "0009010202000100000001"},
		{ArrayOf(Text), "{a,b}", "0101610001620000018000000280000001", "0009010202000161000162"},
	} {
		d, err := ParseText(T(c.k), c.text)
		if err != nil {
			t.Fatal(err)
		}
		key, image := hex.EncodeToString(AppendKeyDatum(nil, d)), hex.EncodeToString(AppendImageDatum(nil, d))
		if key != c.key || image != c.image {
			t.Errorf("%s", fmt.Sprintf("{%d, %q, %q, %q},", c.k, c.text, key, image))
		}
	}
}
