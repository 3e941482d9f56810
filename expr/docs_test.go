package expr

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/streamdb/streamdb/types"
)

const (
	procPath = "testdata/pg_proc.txt"
	docsPath = "../docs/functions.md"
)

// procQuery lists what users call of PostgreSQL's pg_proc over the types that
// streamdb has, their arrays, and the pseudo-types: no input and output,
// support, index and operator functions, no transitions of aggregates, nothing
// about the server.
const procQuery = `
WITH t(oid) AS (SELECT oid FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typname IN ('bool','int2','int4','int8',
  'float4','float8','numeric','text','varchar','bpchar','name','char','bytea','date','time','timetz','timestamp','timestamptz','interval',
  'uuid','oid','json','jsonb','any','anyelement','anyarray','anynonarray','anycompatible','anycompatiblearray','anycompatiblenonarray','record',
  '_bool','_int2','_int4','_int8','_float4','_float8','_numeric','_text','_date','_timestamp','_timestamptz','_jsonb','jsonpath'))
SELECT p.proname || '|' || coalesce((SELECT string_agg(format_type(a, NULL), ',' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY u(a, n)), '')
  || '|' || CASE WHEN p.provariadic <> 0 THEN 'variadic ' ELSE '' END || CASE WHEN p.proretset THEN 'setof ' ELSE '' END
  || format_type(p.prorettype, NULL) || '|' || p.prokind::text
FROM pg_proc p WHERE pronamespace = 'pg_catalog'::regnamespace
AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) a WHERE a NOT IN (SELECT oid FROM t)) AND prorettype IN (SELECT oid FROM t)
AND NOT EXISTS (SELECT FROM pg_operator o WHERE p.oid IN (o.oprcode, o.oprrest, o.oprjoin))
AND NOT EXISTS (SELECT FROM pg_type y WHERE p.oid IN (y.typinput, y.typoutput, y.typreceive, y.typsend, y.typmodin, y.typmodout, y.typanalyze, y.typsubscript))
AND NOT EXISTS (SELECT FROM pg_cast c WHERE c.castfunc = p.oid)
AND NOT EXISTS (SELECT FROM pg_amproc m WHERE m.amproc = p.oid)
AND NOT EXISTS (SELECT FROM pg_aggregate g WHERE p.oid IN (g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, g.aggdeserialfn,
  g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn))
AND NOT EXISTS (SELECT FROM pg_proc s WHERE s.prosupport = p.oid)
AND p.proname !~ '^(pg_|lo_|lo|binary_upgrade|has_|txid|inet|xml|query_to|table_to|schema_to|database_to|cursor_to|ts_|tsvector|brin|gin|gist|spg|hash|bt|range_|multirange|in_range|current_setting|set_config|col_description|obj_description|shobj|to_reg|make_acl|acl|row_security|currtid|nameconcatoid|unique_key|amvalidate|satisfies|session_user|current_|array_subscript|jsonb_subscript|raw_array|path_|window_|int[248]_|float[48]_|numeric_|interval_|time_|timetz_|timestamp_|timestamptz_|date_recv|text_|bpchar_|bytea_|uuid_hash|mode_final|getdatabase|get_|is_|parse_|convert$|version|oidvector|suppress|percentile_.*_final|ordered_set|hypothetical|rank_final|dense_|icu_|iso|koi|utf8|euc|big5|win|latin|mic|sjis|uhc|johab|gbk|gb18030|shift|ascii_to|plpgsql|fmgr|language|any|event|trigger|record|array_typanalyze|array_unnest_s|generate_series_.*_support|dist_|cidr|cash|money|macaddr|elem_contained|json_populate|jsonb_populate|json_to_record|jsonb_to_record|row_to|inter_|line|lseg|poly|circle|point|box|.*sel$|.*_accum$|.*_accum_inv$)'
ORDER BY 1`

// kindByPG gives the kind that format_type names.
func kindByPG(name string) (types.Kind, bool) {
	for _, k := range allKinds {
		if k.String() == name {
			return k, true
		}
	}
	switch name {
	case "anyarray", "anycompatiblearray":
		return types.ArrayOf(types.Int4), true
	case "anycompatible", "anynonarray":
		return types.Int4, true
	}
	if elem, ok := strings.CutSuffix(name, "[]"); ok {
		k, ok := kindByPG(elem)
		return types.ArrayOf(k), ok
	}
	return types.Unknown, name == "\"any\"" || name == "anyelement"
}

// specialArgs are the functions that take anything, by name.
var specialArgs = map[string]bool{"concat": true, "concat_ws": true, "format": true, "num_nulls": true, "num_nonnulls": true,
	"json_build_array": true, "json_build_object": true, "jsonb_build_array": true, "jsonb_build_object": true,
	"to_json": true, "to_jsonb": true, "quote_literal": true, "quote_nullable": true}

// present reports whether streamdb has a function of PostgreSQL's.
func present(name, args, result, kind string) bool {
	var kinds []types.Kind
	for a := range strings.SplitSeq(args, ",") {
		if a == "" {
			continue
		}
		k, ok := kindByPG(a)
		if specialArgs[name] {
			continue
		}
		if strings.HasPrefix(result, "variadic ") && a == "text[]" { // variadic text
			k, ok = types.Text, true
		}
		if !ok {
			return false
		}
		kinds = append(kinds, k)
	}
	switch {
	case kind == "w":
		return false // what the planner has is not known here
	case kind == "a":
		return slices.ContainsFunc(aggByName[name], func(f *Func) bool { return slices.Equal(f.Args, kinds) })
	case strings.Contains(result, "setof "):
		return false
	case specialArgs[name]:
		return true
	}
	return slices.ContainsFunc(registry.byName[name], func(f *Func) bool { return f.refused == "" && slices.Equal(f.Args, kinds) })
}

// TestFunctionsPage keeps docs/functions.md equal to the registry (-rewrite).
func TestFunctionsPage(t *testing.T) {
	if *rewrite {
		writeProcs(t)
	}
	b, err := os.ReadFile(procPath)
	if err != nil {
		t.Fatal(err)
	}
	type entry struct{ here, missing []string }
	byKind := map[string]*entry{"f": {}, "a": {}, "w": {}, "s": {}}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), "|")
		kind := f[3]
		if strings.Contains(f[2], "setof ") {
			kind = "s"
		}
		sig := "`" + f[0] + "(" + strings.ReplaceAll(f[1], ",", ", ") + ")`"
		if e := byKind[kind]; present(f[0], f[1], f[2], f[3]) {
			e.here = append(e.here, sig)
		} else {
			e.missing = append(e.missing, sig)
		}
	}
	var out strings.Builder
	out.WriteString("# Functions\n\nWhat PostgreSQL 15's `pg_proc` has for users over the types that streamdb has, and their arrays, and what of it\n" +
		"streamdb has. Operators, casts and the forms of the grammar (CASE, COALESCE, …) are not in the list. The page is\n" +
		"generated: `go test ./expr -run TestFunctionsPage -rewrite`.\n\n| | here | of | |\n|---|---|---|---|\n")
	here, all := 0, 0
	sections := []struct{ kind, title string }{{"f", "Functions"}, {"a", "Aggregates"}, {"s", "Set-returning functions"}, {"w", "Window functions"}}
	for _, s := range sections {
		e := byKind[s.kind]
		n := len(e.here) + len(e.missing)
		fmt.Fprintf(&out, "| %s | %d | %d | %d%% |\n", s.title, len(e.here), n, 100*len(e.here)/max(n, 1))
		here, all = here+len(e.here), all+n
	}
	fmt.Fprintf(&out, "| All | %d | %d | %d%% |\n", here, all, 100*here/all)
	for _, s := range sections {
		e := byKind[s.kind]
		fmt.Fprintf(&out, "\n## %s\n\nHere: %s.\n\nNot here: %s.\n", s.title, orNone(e.here), orNone(e.missing))
	}
	if *rewrite {
		if err := os.WriteFile(docsPath, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile(docsPath)
	if err != nil {
		t.Fatal(err)
	}
	if string(page) != out.String() {
		t.Error("docs/functions.md is not what the registry says; run with -rewrite")
	}
	t.Logf("%d of %d", here, all)
}

func orNone(s []string) string {
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}

func writeProcs(t *testing.T) {
	rows, err := connectPG(t).Query(context.Background(), procQuery)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		out.WriteString(line + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(procPath, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
