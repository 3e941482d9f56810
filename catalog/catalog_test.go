package catalog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

var public = []string{PublicSchema}

func id(n byte) types.UUID { return types.UUID{15: n} }

// object makes a small object; depends are the identities it depends on.
func object(n byte, k Kind, schema, name string, depends ...byte) *Object {
	o := &Object{ID: id(n), Kind: k, Schema: schema, Name: name, Status: Ready}
	o.Columns = []Column{{ID: 1, Name: "a", Type: types.T(types.Int8), NotNull: true}, {ID: 2, Name: "b", Type: types.T(types.Text), Default: "'x'"}}
	for _, d := range depends {
		o.Depends = append(o.Depends, id(d))
	}
	return o
}

func put(t testing.TB, c *Catalog, objects ...*Object) *Catalog {
	t.Helper()
	var changes []Change
	for _, o := range objects {
		changes = append(changes, Change{Put: o})
	}
	n, err := c.Apply(changes)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sample has a table t with views v (over t) and w (over v and t), a sink s
// over w, a source nx of two relations with a view over one, and a source of
// one relation.
func sample(t testing.TB) *Catalog {
	c := put(t, Empty(), object(1, Table, "public", "t"), object(2, MaterializedView, "public", "v", 1))
	c = put(t, c, object(3, MaterializedView, "public", "w", 2, 1), object(4, Sink, "public", "s", 3))
	c = put(t, c, object(5, Source, "public", "nx"), object(6, Schema, "", "nx", 5),
		object(7, SourceRelation, "nx", "bid", 5), object(8, SourceRelation, "nx", "person", 5))
	c = put(t, c, object(9, MaterializedView, "public", "bids", 7))
	return put(t, c, object(10, Source, "public", "f"), object(11, SourceRelation, "public", "f", 10))
}

func names(os []*Object) string {
	var s []string
	for _, o := range os {
		s = append(s, o.Title())
	}
	return strings.Join(s, " ")
}

func TestVersions(t *testing.T) {
	c := sample(t)
	if c.Version() != 5 {
		t.Errorf("version %d", c.Version())
	}
	o, err := c.Resolve(public, []string{"t"})
	if err != nil || o.OID != FirstOID || c.ByOID(FirstOID) != o || c.ByID(id(1)) != o {
		t.Fatalf("t is %+v, %v", o, err)
	}
	renamed := *o
	renamed.Name = "t2"
	d := put(t, c, &renamed)
	if _, err := d.Resolve(public, []string{"t"}); pgerr.CodeOf(err) != pgerr.UndefinedTable {
		t.Errorf("the old name gives %v", err)
	}
	if p, err := d.Resolve(public, []string{"public", "t2"}); err != nil || p.OID != FirstOID {
		t.Errorf("the new name gives %v, %v", p, err)
	}
	if p, _ := c.Resolve(public, []string{"t"}); p != o {
		t.Error("an older version has changed")
	}
	if got := names(d.Objects(Table, MaterializedView)); got != "bids t2 v w" {
		t.Errorf("objects %s", got)
	}
}

func TestResolve(t *testing.T) {
	c := sample(t)
	for _, test := range []struct {
		parts string
		want  string
	}{
		{"nx.bid", "nx.bid"}, {"streamdb.nx.bid", "nx.bid"}, {"public.v", "v"}, {"f", "f"}, {"nx", "nx"},
		{"bid", `relation "bid" does not exist (SQLSTATE 42P01)`},
		{"q.t", `relation "q.t" does not exist (SQLSTATE 42P01)`},
		{"other.public.t", `cross-database references are not implemented: "other.public.t" (SQLSTATE 0A000)`},
		{"a.b.c.d", `improper qualified name (too many dotted names): a.b.c.d (SQLSTATE 42601)`},
	} {
		o, err := c.Resolve(public, strings.Split(test.parts, "."))
		got := fmt.Sprint(err)
		if err == nil {
			got = o.Title()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.parts, got, test.want)
		}
	}
	if o, _ := c.Resolve(public, []string{"f"}); o.Kind != SourceRelation {
		t.Errorf("f is a %s", o.Kind)
	}
	if o, err := c.Resolve([]string{"nx", "public"}, []string{"bid"}); err != nil || o.ID != id(7) {
		t.Errorf("bid along the path is %v, %v", o, err)
	}
}

func TestRefusals(t *testing.T) {
	c := sample(t)
	for _, test := range []struct {
		name string
		err  error
		code pgerr.Code
	}{
		{"taken", c.CheckFree("public", "v"), pgerr.DuplicateTable},
		{"taken by a source", c.CheckFree("public", "nx"), pgerr.DuplicateTable},
		{"free", c.CheckFree("public", "z"), pgerr.SuccessfulCompletion},
		{"no schema", c.CheckFree("zz", "z"), pgerr.InvalidSchemaName},
		{"reserved", c.CheckFree("pg_catalog", "z"), pgerr.InsufficientPrivilege},
		{"schema taken", c.CheckFreeSchema("nx"), pgerr.DuplicateSchema},
		{"schema reserved", c.CheckFreeSchema("pg_x"), pgerr.ReservedName},
		{"put twice", apply(c, Change{Put: object(20, Table, "public", "v")}), pgerr.DuplicateTable},
		{"put into nothing", apply(c, Change{Put: object(20, Table, "zz", "z")}), pgerr.InvalidSchemaName},
		{"depends on nothing", apply(c, Change{Put: object(20, Table, "public", "z", 99)}), pgerr.InternalError},
		{"still used", apply(c, Change{Drop: id(1)}), pgerr.InternalError},
		{"not there", apply(c, Change{Drop: id(99)}), pgerr.InternalError},
	} {
		if got := pgerr.CodeOf(test.err); got != test.code {
			t.Errorf("%s: %v, want %s", test.name, test.err, test.code)
		}
	}
}

func apply(c *Catalog, changes ...Change) error {
	_, err := c.Apply(changes)
	return err
}

func TestDependents(t *testing.T) {
	c := sample(t)
	for n, want := range map[byte]string{1: "s w v", 2: "s w", 4: "", 5: "bids nx.bid nx.person nx", 7: "bids"} {
		if got := names(c.Dependents(id(n))); got != want {
			t.Errorf("dependents of %d: %s, want %s", n, got, want)
		}
	}
}

func TestDrop(t *testing.T) {
	for _, test := range []struct {
		kind     Kind
		names    string
		cascade  bool
		ifExists bool
		want     string
	}{
		{Sink, "s", false, false, "s"},
		{Table, "t", false, false, "2BP01 cannot drop table t because other objects depend on it\n" +
			"materialized view v depends on table t\nmaterialized view w depends on materialized view v\nsink s depends on materialized view w\n" +
			"Use DROP ... CASCADE to drop the dependent objects too."},
		{Table, "t", true, false, "s w v t; drop cascades to 3 other objects\n" +
			"drop cascades to materialized view v\ndrop cascades to materialized view w\ndrop cascades to sink s"},
		{MaterializedView, "w,v", true, false, "s w v; drop cascades to sink s"},
		{MaterializedView, "w,v", false, false, "2BP01 cannot drop desired object(s) because other objects depend on them\n" +
			"sink s depends on materialized view w\nUse DROP ... CASCADE to drop the dependent objects too."},
		{Table, "v", false, false, "42809 \"v\" is not a table\n\nUse DROP MATERIALIZED VIEW to remove a materialized view."},
		{Table, "v", false, true, "42809 \"v\" is not a table\n\nUse DROP MATERIALIZED VIEW to remove a materialized view."},
		{MaterializedView, "t", false, false, "42809 \"t\" is not a materialized view\n\nUse DROP TABLE to remove a table."},
		{Source, "nx.bid", false, false, "42809 \"bid\" is not a source\n\nIt is a relation of source nx; use DROP SOURCE nx to remove them together."},
		{Table, "f", false, false, "42809 \"f\" is not a table\n\nUse DROP SOURCE to remove a source."},
		{Source, "f", false, false, "f f"},
		{Source, "nx", true, false, "bids nx.bid nx.person nx nx; drop cascades to materialized view bids"},
		{Source, "nx", false, false, "2BP01 cannot drop source nx because other objects depend on it\n" +
			"materialized view bids depends on source relation nx.bid\nUse DROP ... CASCADE to drop the dependent objects too."},
		{Schema, "nx", true, false, "2BP01 cannot drop schema nx because source nx requires it\n\nYou can drop source nx instead."},
		{Schema, "public", true, false, "2BP01 cannot drop schema public because it is required by the database system\n\n"},
		{Table, "zz", false, false, "42P01 table \"zz\" does not exist\n\n"},
		{Table, "q.zz", false, false, "3F000 schema \"q\" does not exist\n\n"},
		{Table, "zz", false, true, "; table \"zz\" does not exist, skipping"},
		{Table, "t,t", true, false, "s w v t; drop cascades to 3 other objects\n" +
			"drop cascades to materialized view v\ndrop cascades to materialized view w\ndrop cascades to sink s"},
	} {
		c := sample(t)
		r := DropRequest{SearchPath: public, Kind: test.kind, Cascade: test.cascade, IfExists: test.ifExists}
		for _, n := range strings.Split(test.names, ",") {
			r.Names = append(r.Names, strings.Split(n, "."))
		}
		p, err := PlanDrop(c, r)
		got := ""
		if err != nil {
			e := pgerr.From(err)
			got = fmt.Sprintf("%s %s\n%s\n%s", e.Code, e.Message, e.Detail, e.Hint)
		} else {
			got = names(p.Dropped)
			for _, n := range p.Notices {
				got += "; " + n.Message
				if n.Detail != "" {
					got += "\n" + n.Detail
				}
			}
			if _, err := c.Apply(p.Changes); err != nil {
				t.Errorf("%+v: the changes do not apply: %v", test, err)
			}
		}
		if got != test.want {
			t.Errorf("DROP %s %s:\n%s\nwant\n%s", test.kind, test.names, got, test.want)
		}
	}
}

func rich() *Object {
	o := object(40, MaterializedView, "public", "rich", 1)
	o.OID, o.Key, o.Plan, o.Definition = 20000, []int{1, 0}, []byte{1, 2, 3}, "SELECT 'ü'"
	o.Options = map[string]string{"b": "2", "a": "1"}
	o.Parallelism, o.Backend, o.NumGroups, o.StartTime, o.Relation, o.Created = 3, "pebble", 256, -5, "bid", 77
	o.Columns[0].Type = types.Type{Kind: types.Numeric, Mod: types.NumericMod(10, 2)}
	return o
}

func TestCodec(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	changes := []Change{{Put: rich()}, {Drop: id(9)}, {Put: object(41, Table, "public", "x")}}
	b := AppendChanges(nil, changes)
	got, err := DecodeChanges(b)
	if err != nil || !reflect.DeepEqual(got, changes) {
		t.Fatalf("changes do not survive: %v", err)
	}
	c := put(t, sample(t), rich())
	v := c.Append(nil)
	d, err := Decode(v)
	if err != nil || !bytes.Equal(d.Append(nil), v) || d.Version() != c.Version() || !reflect.DeepEqual(d, c) {
		t.Fatalf("a version does not survive: %v", err)
	}
	for n := range len(b) {
		if _, err := DecodeChanges(b[:n]); err == nil {
			t.Fatalf("%d of %d bytes are taken for changes", n, len(b))
		}
	}
	for n := range len(v) {
		if _, err := Decode(v[:n]); err == nil {
			t.Fatalf("%d of %d bytes are taken for a version", n, len(v))
		}
	}
	for range 2000 {
		x := bytes.Clone(v)
		x[rnd.IntN(len(x))] ^= 1 << rnd.IntN(8)
		_, _ = Decode(x) // must not panic
	}
	if _, err := Decode([]byte{codecFormat + 1}); pgerr.CodeOf(err) != pgerr.FeatureNotSupported {
		t.Errorf("a newer format gives %v", err)
	}
}

func TestOIDsAreStable(t *testing.T) {
	c := sample(t)
	p, err := PlanDrop(c, DropRequest{SearchPath: public, Names: [][]string{{"s"}}, Kind: Sink})
	if err != nil {
		t.Fatal(err)
	}
	oid := c.ByID(id(4)).OID
	c, err = c.Apply(p.Changes)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(c.Append(nil))
	if err != nil {
		t.Fatal(err)
	}
	a, b := put(t, c, object(50, Table, "public", "n")), put(t, d, object(50, Table, "public", "n"))
	if x, y := a.ByID(id(50)).OID, b.ByID(id(50)).OID; x != y || x == oid {
		t.Errorf("OIDs %d and %d, the dropped sink had %d", x, y, oid)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(AppendChanges(nil, []Change{{Put: rich()}, {Drop: id(1)}}))
	f.Add(put(f, sample(f), rich()).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeChanges(b); err == nil {
			x := AppendChanges(nil, c)
			if d, err := DecodeChanges(x); err != nil || !reflect.DeepEqual(c, d) {
				t.Fatalf("decoded changes do not survive: %v", err)
			}
		}
		if c, err := Decode(b); err == nil {
			x := c.Append(nil)
			if d, err := Decode(x); err != nil || !bytes.Equal(d.Append(nil), x) {
				t.Fatalf("a decoded version does not survive: %v", err)
			}
		}
	})
}
