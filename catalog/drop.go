package catalog

import (
	"slices"
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
	"github.com/streamdb/streamdb/types"
)

// DropRequest is a DROP statement.
type DropRequest struct {
	SearchPath []string
	Names      [][]string
	Kind       Kind // what the statement says that they are
	IfExists   bool
	Cascade    bool
}

// DropPlan is what a DROP does.
type DropPlan struct {
	Changes []Change
	Dropped []*Object // in the order in which they go: dependents first
	// Notices are messages of severity NOTICE.
	Notices []*pgerr.Error
}

// PlanDrop resolves the names of a DROP and finds what goes with them. Parts
// of a source (its schema and relations) always go with it; other dependents
// only with Cascade, else 2BP01.
func PlanDrop(c *Catalog, r DropRequest) (*DropPlan, error) {
	p := &DropPlan{}
	var targets []*Object
	for _, name := range r.Names {
		o, err := c.dropTarget(r, name)
		if err != nil {
			if !r.IfExists || pgerr.CodeOf(err) == pgerr.WrongObjectType || pgerr.CodeOf(err) == pgerr.FeatureNotSupported {
				return nil, err
			}
			p.notice("%s, skipping", pgerr.From(err).Message)
			continue
		}
		if !slices.Contains(targets, o) {
			targets = append(targets, o)
		}
	}
	d := dropper{c: c, users: c.users(), state: map[types.UUID]bool{}}
	for _, o := range targets {
		d.explicit(o)
	}
	for _, o := range targets {
		if err := d.checkOwner(o); err != nil {
			return nil, err
		}
		d.visit(o)
	}
	if len(d.others) > 0 {
		if !r.Cascade {
			return nil, d.refusal(targets)
		}
		p.cascadeNotice(d.others)
	}
	p.Dropped = d.order
	for _, o := range d.order {
		p.Changes = append(p.Changes, Change{Drop: o.ID})
	}
	return p, nil
}

func (p *DropPlan) notice(format string, args ...any) *pgerr.Error {
	n := pgerr.New(pgerr.SuccessfulCompletion, format, args...)
	p.Notices = append(p.Notices, n)
	return n
}

func (p *DropPlan) cascadeNotice(others []*Object) {
	if len(others) == 1 {
		p.notice("drop cascades to %s", others[0].Describe())
		return
	}
	lines := make([]string, len(others))
	for i, o := range others {
		lines[i] = "drop cascades to " + o.Describe()
	}
	p.notice("drop cascades to %d other objects", len(others)).WithDetail("%s", strings.Join(lines, "\n"))
}

// dropTarget finds what a name in a DROP of r.Kind means.
func (c *Catalog) dropTarget(r DropRequest, name []string) (*Object, error) {
	full := strings.Join(name, ".")
	if r.Kind == Schema {
		last := name[len(name)-1]
		if Builtin(last) {
			return nil, pgerr.New(pgerr.DependentObjectsExist,
				"cannot drop schema %s because it is required by the database system", last)
		}
		if o := c.byName[nameKey{schemas, "", last}]; o != nil {
			return o, nil
		}
		return nil, errNoSchema(last)
	}
	if len(name) > 1 && !c.HasSchema(name[len(name)-2]) {
		return nil, errNoSchema(name[len(name)-2])
	}
	order := []space{relations, sources}
	if r.Kind == Source {
		order = []space{sources, relations}
	}
	o, err := c.lookup(r.SearchPath, name, order...)
	if err != nil {
		return nil, err
	}
	if o == nil {
		return nil, pgerr.New(pgerr.UndefinedTable, `%s "%s" does not exist`, r.Kind, full)
	}
	if o.Kind == SourceRelation && r.Kind != Source { // its source is what was created under the name
		if src := c.sourceOf(o); src != nil && src.Name == o.Name && src.Schema == o.Schema {
			o = src
		}
	}
	if o.Kind == r.Kind {
		return o, nil
	}
	return nil, c.errWrongKind(o, r.Kind)
}

func (c *Catalog) errWrongKind(o *Object, want Kind) error {
	e := pgerr.New(pgerr.WrongObjectType, `"%s" is not a %s`, o.Name, want)
	switch o.Kind {
	case SourceRelation:
		if src := c.sourceOf(o); src != nil {
			return e.WithHint("It is a relation of source %s; use DROP SOURCE %s to remove them together.",
				src.Title(), src.Title())
		}
	case System:
		return e.WithHint("System views cannot be removed.")
	default:
		return e.WithHint("Use DROP %s to remove a %s.", strings.ToUpper(o.Kind.String()), o.Kind)
	}
	return e
}

// sourceOf gives the source that a relation or schema is a part of, or nil.
func (c *Catalog) sourceOf(o *Object) *Object {
	if o.Kind != SourceRelation && o.Kind != Schema {
		return nil
	}
	for _, d := range o.Depends {
		if s := c.byID[d]; s != nil && s.Kind == Source {
			return s
		}
	}
	return nil
}

// dropper walks the dependents of the targets.
type dropper struct {
	c      *Catalog
	users  map[types.UUID][]*Object
	state  map[types.UUID]bool // false: goes without CASCADE, not yet visited; true: visited
	order  []*Object
	others []*Object // dependents that need CASCADE
	why    []string  // for each of others: on what it depends
}

// explicit marks a target and its parts as asked for.
func (d *dropper) explicit(o *Object) {
	d.state[o.ID] = false
	for _, u := range d.users[o.ID] {
		if src := d.c.sourceOf(u); src != nil && src.ID == o.ID {
			d.state[u.ID] = false
		}
	}
}

func (d *dropper) visit(o *Object) {
	if d.state[o.ID] {
		return
	}
	d.state[o.ID] = true
	for _, u := range d.users[o.ID] {
		visited, asked := d.state[u.ID]
		if visited {
			continue
		}
		if !asked {
			d.others = append(d.others, u)
			d.why = append(d.why, u.Describe()+" depends on "+o.Describe())
			for _, part := range d.users[u.ID] {
				if src := d.c.sourceOf(part); src != nil && src.ID == u.ID {
					d.explicit(u)
				}
			}
		}
		d.visit(u)
	}
	d.order = append(d.order, o)
}

// checkOwner refuses to drop the schema of a source without the source.
func (d *dropper) checkOwner(o *Object) error {
	src := d.c.sourceOf(o)
	if src == nil {
		return nil
	}
	if _, ok := d.state[src.ID]; ok {
		return nil
	}
	return pgerr.New(pgerr.DependentObjectsExist, "cannot drop %s because %s requires it", o.Describe(), src.Describe()).
		WithHint("You can drop %s instead.", src.Describe())
}

func (d *dropper) refusal(targets []*Object) error {
	what := "desired object(s)"
	it := "them"
	if len(targets) == 1 {
		what, it = targets[0].Describe(), "it"
	}
	return pgerr.New(pgerr.DependentObjectsExist, "cannot drop %s because other objects depend on %s", what, it).
		WithDetail("%s", strings.Join(d.why, "\n")).
		WithHint("Use DROP ... CASCADE to drop the dependent objects too.")
}
