// Package invariants holds what must be true of the source as a whole: who
// imports whom.
package invariants

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "github.com/streamdb/streamdb/"
	pebble = "github.com/cockroachdb/pebble/v2"
	tidb   = "github.com/pingcap/tidb/"
)

// arrows says for each folder which others of ours it may import; internal/pgerr
// is free to all, and so is everything below a folder that is named. What is not
// here, or in anywhere, is nowhere allowed.
var arrows = map[string][]string{
	"types":      {},
	"sql":        {"types"},
	"expr":       {"types"},
	"journal":    {"types"},
	"connector":  {"types"},
	"wire":       {"types"},
	"state":      {"types"},
	"catalog":    {"expr", "types"},
	"relation":   {"state", "types"},
	"tablestore": {"journal", "relation", "state", "types"},
	"checkpoint": {"journal", "state", "types"},
	"planner":    {"sql", "catalog", "expr", "state", "types"},
	"exec":       {"checkpoint", "state", "connector", "relation", "expr", "types"},
	"exec/build": {"exec", "planner", "checkpoint", "state", "connector", "relation", "expr", "types"},
	"engine": {"wire", "sql", "catalog", "planner", "exec", "state", "checkpoint", "journal", "tablestore", "relation",
		"connector", "expr", "types"},
	"examples/data": {},
	"cmd":           {"engine", "wire", "state", "internal", "types", "examples/data"},
}

// anywhere are the folders of tools for tests: they may import what they test.
var anywhere = []string{"internal"}

// foreign says which files alone may import a module of others.
var foreign = []struct {
	what string
	path func(string) bool
	file func(string) bool
}{
	{"TiDB's parser", below(tidb), oneOf("sql/parse.go", "sql/driver.go", "sql/decode.go")},
	{"the server side of the protocol codec", func(p string) bool {
		return strings.HasPrefix(p, "github.com/jackc/pgproto3") || strings.HasPrefix(p, "github.com/jackc/pgx/v5/pgproto3")
	}, in("wire")},
	{"Pebble but for its vfs", func(p string) bool {
		return below(pebble)(p) && p != pebble+"/vfs" && !strings.HasPrefix(p, pebble+"/vfs/")
	}, func(f string) bool { return in("state/pebble")(f) || in("tablestore")(f) }},
}

func below(prefix string) func(string) bool {
	return func(p string) bool { return strings.HasPrefix(p, prefix) }
}
func in(folder string) func(string) bool {
	return func(f string) bool { return strings.HasPrefix(f, folder+"/") }
}
func oneOf(files ...string) func(string) bool {
	return func(f string) bool { return slices.Contains(files, f) }
}

// file is a source file that is no test: its path from the root, and what it
// imports.
type file struct {
	path    string
	imports []string
}

func sources(t *testing.T) []file {
	t.Helper()
	root := filepath.Join("..", "..")
	var files []file
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "tmp"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		src := file{path: filepath.ToSlash(rel)}
		for _, im := range f.Imports {
			p, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				return err
			}
			src.imports = append(src.imports, p)
		}
		files = append(files, src)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("found only %d source files: is this the project's root?", len(files))
	}
	return files
}

// folder is the entry of arrows that stands for a path: the longest.
func folder(path string) string {
	for path != "." && path != "/" {
		if _, ok := arrows[path]; ok {
			return path
		}
		path = filepath.ToSlash(filepath.Dir(path))
	}
	return ""
}

func TestArrows(t *testing.T) {
	for _, f := range sources(t) {
		dir := filepath.ToSlash(filepath.Dir(f.path))
		top, _, _ := strings.Cut(dir, "/")
		if slices.Contains(anywhere, top) && dir != "internal/pgerr" {
			continue
		}
		from := folder(dir)
		if from == "" && dir != "internal/pgerr" {
			t.Errorf("%s: folder %s has no place in the arrows", f.path, dir)
			continue
		}
		for _, im := range f.imports {
			to, ours := strings.CutPrefix(im, module)
			if !ours || to == "internal/pgerr" && dir != "internal/pgerr" {
				continue
			}
			if !allowed(from, to) {
				t.Errorf("%s: %s must not import %s", f.path, from, to)
			}
		}
	}
}

func allowed(from, to string) bool {
	target := folder(to)
	if target == from { // its own folders, but never one that has arrows of its own
		return true
	}
	for _, a := range arrows[from] {
		if to == a || strings.HasPrefix(to, a+"/") && (target == a || from == "engine" || target == "") {
			return true
		}
	}
	return slices.Contains(arrows[from], target)
}

func TestForeignImports(t *testing.T) {
	for _, f := range sources(t) {
		for _, im := range f.imports {
			for _, rule := range foreign {
				if rule.path(im) && !rule.file(f.path) {
					t.Errorf("%s imports %s: %s is for others", f.path, im, rule.what)
				}
			}
		}
	}
}

// Disk I/O goes through a vfs.FS that is passed in: outside of the command and
// of tests' tools nothing opens, makes or removes a file by package os.
func TestNoDirectFiles(t *testing.T) {
	calls := []string{"Open", "OpenFile", "Create", "CreateTemp", "ReadFile", "WriteFile", "ReadDir", "Rename", "Link", "Remove",
		"RemoveAll", "Mkdir", "MkdirAll", "MkdirTemp", "Truncate", "Stat", "Lstat", "Getwd", "Chdir"}
	for _, f := range sources(t) {
		top, _, _ := strings.Cut(f.path, "/")
		if top == "cmd" || top == "internal" || strings.HasPrefix(f.path, "state/statetest/") || !slices.Contains(f.imports, "os") {
			continue
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, filepath.Join("..", "..", f.path), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "os" && slices.Contains(calls, sel.Sel.Name) {
					t.Errorf("%s: os.%s: disk I/O goes through a vfs.FS", fset.Position(n.Pos()), sel.Sel.Name)
				}
			}
			return true
		})
	}
}

// The rules above must be able to fail.
func TestAllowed(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"exec", "planner", false}, {"exec", "exec/build", false}, {"exec/build", "exec", true}, {"exec/build", "planner", true},
		{"engine", "exec/build", true}, {"engine", "state/pebble", true}, {"wire", "engine", false}, {"types", "expr", false},
		{"state", "state/pebble", true}, {"engine", "cmd/streamdb", false}, {"cmd", "engine", true}, {"cmd", "planner", false},
	} {
		if got := allowed(c.from, c.to); got != c.ok {
			t.Errorf("%s may import %s: %v", c.from, c.to, got)
		}
	}
	if _, err := os.Stat(filepath.Join("..", "..", "go.mod")); err != nil {
		t.Fatal(err)
	}
}
