// Package lint checks the house's own rules, for which there is no linter.
package lint

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	maxFileLines = 800
	maxFuncLines = 90
)

// words must not stand in any text of the repository. They are put together
// here so that this file does not hold them.
var words = []*regexp.Regexp{
	regexp.MustCompile(`\b(` + "TO" + "DO|FIX" + "ME|X" + "XX" + `)\b`),
	regexp.MustCompile("proxy" + `\.golang|` + "registry" + `\.npmjs|` + "sum" + `\.golang`),
	regexp.MustCompile(`/wo` + `rk/(main|shared)`),
}

// walk calls visit with each file of the repository, by its path from the root.
func walk(t *testing.T, visit func(path string, text []byte)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); rel != "." && (name == ".git" || name == "bin" || rel == "data" || rel == "tmp" || strings.HasPrefix(name, ".cache")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(rel), text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestWords(t *testing.T) {
	walk(t, func(path string, text []byte) {
		if strings.HasSuffix(path, ".tmp.md") || bytes.IndexByte(text, 0) >= 0 || strings.HasPrefix(path, "examples/data/") {
			return
		}
		for n, line := range bytes.Split(text, []byte("\n")) {
			for _, w := range words {
				if w.Match(line) {
					t.Errorf("%s:%d: %q must not stand here: %s", path, n+1, w.Find(line), bytes.TrimSpace(line))
				}
			}
		}
	})
}

func TestLengths(t *testing.T) {
	walk(t, func(path string, text []byte) {
		if !strings.HasSuffix(path, ".go") {
			return
		}
		if n := bytes.Count(text, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines, more than %d: part it by its nouns", path, n, maxFileLines)
		}
		if strings.HasSuffix(path, "_test.go") {
			return // tables of cases may be long
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, text, parser.SkipObjectResolution)
		if err != nil {
			t.Error(err)
			return
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFuncLines {
				t.Errorf("%s: func %s has %d lines, more than %d", fset.Position(fn.Pos()), fn.Name.Name, n, maxFuncLines)
			}
		}
	})
}

// Every package says what it is, once.
func TestPackageComments(t *testing.T) {
	said := map[string]int{}
	walk(t, func(path string, text []byte) {
		if !strings.HasSuffix(path, ".go") || strings.Contains(path, "testdata/") {
			return
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		f, err := parser.ParseFile(token.NewFileSet(), path, text, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			return
		}
		said[dir] += 0
		if f.Doc != nil {
			said[dir]++
		}
	})
	for dir, n := range said {
		if n != 1 && dir != "." {
			t.Errorf("%s has %d package comments, expected 1", dir, n)
		}
	}
}
