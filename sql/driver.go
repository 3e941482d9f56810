package sql

import (
	"fmt"
	"io"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/format"
)

// marker is the value node of the kernel language: the "?" at an offset. All
// values stand aside, so the parser never makes another kind for our text;
// the hooks below are complete because it demands them.
type marker struct {
	ast.TexprNode
	offset     int // of the "?" in the kernel text, -1 for a value
	value      any
	projection int
}

func (m *marker) SetValue(v any)                     { m.value = v }
func (m *marker) GetValue() any                      { return m.value }
func (m *marker) GetDatumString() string             { return fmt.Sprint(m.value) }
func (m *marker) GetString() string                  { return fmt.Sprint(m.value) }
func (m *marker) GetProjectionOffset() int           { return m.projection }
func (m *marker) SetProjectionOffset(offset int)     { m.projection = offset }
func (m *marker) SetOrder(int)                       {}
func (m *marker) Format(w io.Writer)                 { _, _ = io.WriteString(w, "?") }
func (m *marker) Restore(c *format.RestoreCtx) error { c.WritePlain("?"); return nil }

// Accept implements ast.Node.
func (m *marker) Accept(v ast.Visitor) (ast.Node, bool) {
	n, _ := v.Enter(m)
	return v.Leave(n)
}

// TiDB's parser makes values through hooks that are global to the process.
func init() {
	ast.NewValueExpr = func(v any, _, _ string) ast.ValueExpr { return &marker{value: v, offset: -1} }
	ast.NewParamMarkerExpr = func(offset int) ast.ParamMarkerExpr { return &marker{offset: offset} }
	ast.NewDecimal = func(s string) (any, error) { return s, nil }
	ast.NewHexLiteral = func(s string) (any, error) { return s, nil }
	ast.NewBitLiteral = func(s string) (any, error) { return s, nil }
}
