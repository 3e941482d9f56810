package sql

func (f *formatter) query(q *Query) {
	if q.With != nil {
		f.with(q.With)
	}
	switch b := q.Body.(type) {
	case *Select:
		f.selectBlock(b)
	case *Values:
		f.values(b)
	case *SetOp:
		f.setOp(b)
	}
	if len(q.OrderBy) > 0 {
		f.put(" ORDER BY ")
		f.order(q.OrderBy)
	}
	if q.Offset != nil {
		f.put(" OFFSET ")
		f.expr(q.Offset)
	}
	switch {
	case q.Limit == nil:
	case q.WithTies:
		f.put(" FETCH FIRST ")
		f.operand(q.Limit, precPrimary)
		f.put(" ROWS WITH TIES")
	default:
		f.put(" LIMIT ")
		f.expr(q.Limit)
	}
	if q.Locking != "" {
		f.put(" ", q.Locking)
	}
}

func (f *formatter) with(w *With) {
	f.put("WITH ")
	if w.Recursive {
		f.put("RECURSIVE ")
	}
	for i, c := range w.CTEs {
		if i > 0 {
			f.put(", ")
		}
		f.put(QuoteIdent(c.Name))
		if len(c.Columns) > 0 {
			f.columns(c.Columns)
		}
		f.put(" AS ")
		if c.Materialized != "" {
			f.put(c.Materialized, " ")
		}
		f.subquery(c.Query)
	}
	f.put(" ")
}

func (f *formatter) columns(cs []string) {
	f.put("(")
	for i, c := range cs {
		if i > 0 {
			f.put(", ")
		}
		f.put(QuoteIdent(c))
	}
	f.put(")")
}

func (f *formatter) values(v *Values) {
	f.put("VALUES ")
	for i, r := range v.Rows {
		if i > 0 {
			f.put(", ")
		}
		f.put("(")
		f.exprs(r)
		f.put(")")
	}
}

func (f *formatter) setOp(s *SetOp) {
	p := setOpPrecedence(s.Op)
	f.setOperand(s.Left, p)
	f.put(" ", s.Op)
	if s.All {
		f.put(" ALL")
	}
	f.put(" ")
	f.setOperand(s.Right, p+1)
}

func setOpPrecedence(op string) int {
	if op == "INTERSECT" {
		return 2
	}
	return 1
}

// setOperand writes an operand, in parentheses if it has clauses of its own
// or binds less than min.
func (f *formatter) setOperand(q *Query, min int) {
	plain := q.With == nil && len(q.OrderBy) == 0 && q.Limit == nil && q.Offset == nil && q.Locking == ""
	if s, ok := q.Body.(*SetOp); ok && setOpPrecedence(s.Op) < min {
		plain = false
	}
	if plain {
		f.query(q)
	} else {
		f.subquery(q)
	}
}

func (f *formatter) selectBlock(s *Select) {
	f.put("SELECT")
	if s.Distinct {
		f.put(" DISTINCT")
		if len(s.DistinctOn) > 0 {
			f.put(" ON (")
			f.exprs(s.DistinctOn)
			f.put(")")
		}
	}
	f.items(s.Items)
	if len(s.From) > 0 {
		f.put(" FROM ")
		for i, t := range s.From {
			if i > 0 {
				f.put(", ")
			}
			f.table(t)
		}
	}
	if s.Where != nil {
		f.put(" WHERE ")
		f.expr(s.Where)
	}
	if len(s.GroupBy) > 0 {
		f.put(" GROUP BY ")
		if s.GroupDistinct {
			f.put("DISTINCT ")
		}
		f.groups(s.GroupBy)
	}
	if s.Having != nil {
		f.put(" HAVING ")
		f.expr(s.Having)
	}
	for i := range s.Windows {
		if i == 0 {
			f.put(" WINDOW ")
		} else {
			f.put(", ")
		}
		f.put(QuoteIdent(s.Windows[i].Name), " AS ")
		f.window(&s.Windows[i])
	}
}

func (f *formatter) items(items []SelectItem) {
	for i, it := range items {
		if i > 0 {
			f.put(",")
		}
		f.put(" ")
		f.expr(it.Expr)
		if it.Alias != "" {
			f.put(" AS ", QuoteIdent(it.Alias))
		}
	}
}

func (f *formatter) groups(gs []GroupingSet) {
	for i, g := range gs {
		if i > 0 {
			f.put(", ")
		}
		switch g.Kind {
		case "":
			if len(g.Exprs) == 1 {
				f.expr(g.Exprs[0])
				break
			}
			f.put("(")
			f.exprs(g.Exprs)
			f.put(")")
		case "()":
			f.put("()")
		default:
			f.put(g.Kind, " (")
			f.groups(g.Sets)
			f.put(")")
		}
	}
}

func (f *formatter) order(items []OrderItem) {
	for i, o := range items {
		if i > 0 {
			f.put(", ")
		}
		f.expr(o.Expr)
		if o.Using != "" {
			f.put(" USING ", o.Using)
		}
		if o.Desc {
			f.put(" DESC")
		}
		if o.Nulls != "" {
			f.put(" NULLS ", o.Nulls)
		}
	}
}

func (f *formatter) window(w *Window) {
	f.put("(")
	sep := ""
	if w.Base != "" {
		switch w.Base {
		case "partition", "range", "rows", "groups": // would begin the next clause
			f.put(`"`, w.Base, `"`)
		default:
			f.put(QuoteIdent(w.Base))
		}
		sep = " "
	}
	if len(w.PartitionBy) > 0 {
		f.put(sep, "PARTITION BY ")
		f.exprs(w.PartitionBy)
		sep = " "
	}
	if len(w.OrderBy) > 0 {
		f.put(sep, "ORDER BY ")
		f.order(w.OrderBy)
		sep = " "
	}
	if fr := w.Frame; fr != nil {
		f.put(sep, fr.Mode, " BETWEEN ")
		f.bound(fr.Start, fr.StartExpr)
		f.put(" AND ")
		f.bound(fr.End, fr.EndExpr)
		if fr.Exclude != "" {
			f.put(" EXCLUDE ", fr.Exclude)
		}
	}
	f.put(")")
}

func (f *formatter) bound(kind string, e Expr) {
	if e != nil {
		f.operand(e, precOp)
		f.put(" ")
	}
	f.put(kind)
}

func (f *formatter) alias(name string, columns []string) {
	if name == "" {
		return
	}
	f.put(" AS ", QuoteIdent(name))
	if len(columns) > 0 {
		f.columns(columns)
	}
}

func (f *formatter) table(t TableRef) {
	switch t := t.(type) {
	case *TableName:
		if t.Only {
			f.put("ONLY ")
		}
		f.put(t.Name.String())
		if t.AsOf != nil {
			f.put(" FOR SYSTEM_TIME AS OF ")
			f.operand(t.AsOf, precOp)
		}
		f.alias(t.Alias, t.Columns)
	case *DerivedTable:
		f.lateral(t.Lateral)
		f.subquery(t.Query)
		f.alias(t.Alias, t.Columns)
	case *FuncTable:
		f.functions(t)
	case *Join:
		if t.Alias != "" {
			f.put("(")
			f.join(t)
			f.put(")")
			f.alias(t.Alias, t.Columns)
			return
		}
		f.join(t)
	}
}

func (f *formatter) lateral(b bool) {
	if b {
		f.put("LATERAL ")
	}
}

func (f *formatter) functions(t *FuncTable) {
	f.lateral(t.Lateral)
	if len(t.Calls) > 1 {
		f.put("ROWS FROM (")
	}
	for i, c := range t.Calls {
		if i > 0 {
			f.put(", ")
		}
		f.call(c)
	}
	if len(t.Calls) > 1 {
		f.put(")")
	}
	if t.Ordinality {
		f.put(" WITH ORDINALITY")
	}
	if len(t.ColumnDefs) == 0 {
		f.alias(t.Alias, t.Columns)
		return
	}
	f.put(" AS ")
	if t.Alias != "" {
		f.put(QuoteIdent(t.Alias))
	}
	for i, d := range t.ColumnDefs {
		f.put([]string{"(", ", "}[min(i, 1)], QuoteIdent(d.Name), " ")
		f.typeName(d.Type)
	}
	f.put(")")
}

func (f *formatter) join(j *Join) {
	f.table(j.Left)
	f.put(" ")
	if j.Natural {
		f.put("NATURAL ")
	}
	if j.Kind != "INNER" {
		f.put(j.Kind, " ")
	}
	f.put("JOIN ")
	if r, ok := j.Right.(*Join); ok && r.Alias == "" {
		f.put("(")
		f.join(r)
		f.put(")")
	} else {
		f.table(j.Right)
	}
	switch {
	case j.On != nil:
		f.put(" ON ")
		f.expr(j.On)
	case len(j.Using) > 0:
		f.put(" USING ")
		f.columns(j.Using)
		if j.UsingAlias != "" {
			f.put(" AS ", QuoteIdent(j.UsingAlias))
		}
	}
}
