package slt

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

type kind int

const (
	kindStatement kind = iota
	kindQuery
	kindConnection
	kindRestart
	kindSet
	kindEcho
	kindHalt
)

// record is one record or directive of a script.
type record struct {
	kind       kind
	line       int    // of its first word
	only, skip string // systems, of onlyif and skipif
	arg        string // of a directive

	sql        string
	fails      *expectedError // nil: it succeeds
	count      int64          // of a statement, -1 if any will do
	types      string         // of a query's columns
	sort       string         // rowsort, valuesort or nosort
	eventually time.Duration
	expected   []string
	from, to   int // the lines of expected: [from, to)
}

// sorted gives rows in the record's order.
func (rec *record) sorted(rows []string) []string {
	if rec.sort == "nosort" {
		return rows
	}
	rows = slices.Clone(rows)
	slices.Sort(rows)
	return rows
}

// expectedError is an error that a record asks for.
type expectedError struct {
	code    string
	pos     int32 // 0: any
	pattern *regexp.Regexp
}

func (x *expectedError) check(err error) error {
	if err == nil {
		return fmt.Errorf("it succeeded, expected error %s", x.code)
	}
	var e *pgconn.PgError
	switch {
	case !errors.As(err, &e):
		return err
	case e.Code != x.code:
		return fmt.Errorf("expected error %s, got %w", x.code, describe(err))
	case x.pos != 0 && e.Position != x.pos:
		return fmt.Errorf("expected the error at position %d, got it at %d: %s", x.pos, e.Position, e.Message)
	case x.pattern != nil && !x.pattern.MatchString(message(e)):
		return fmt.Errorf("the error does not match %q: %s", x.pattern, message(e))
	}
	return nil
}

// parser reads a script line by line.
type parser struct {
	lines      []string
	next       int
	only, skip string // for the next record
}

// parse takes a script apart. Its errors start with the line number.
func parse(text string) ([]*record, error) {
	p := &parser{lines: strings.Split(text, "\n")}
	var records []*record
	for p.next < len(p.lines) {
		line := strings.TrimSpace(p.lines[p.next])
		p.next++
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := p.next
		rec, err := p.record(line)
		if err != nil {
			return nil, fmt.Errorf("%d: %w", at, err)
		}
		if rec == nil {
			continue
		}
		rec.line, rec.only, rec.skip = at, p.only, p.skip
		p.only, p.skip = "", ""
		records = append(records, rec)
	}
	if p.only+p.skip != "" {
		return nil, fmt.Errorf("%d: onlyif or skipif without a record", p.next)
	}
	return records, nil
}

// record parses what starts with line, nil for a condition.
func (p *parser) record(line string) (*record, error) {
	word, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "skipif", "onlyif":
		if rest != StreamDB && rest != Postgres {
			return nil, fmt.Errorf("%s needs %s or %s", word, StreamDB, Postgres)
		}
		if word == "skipif" {
			p.skip = rest
		} else {
			p.only = rest
		}
		return nil, nil
	case "statement":
		return p.statement(rest)
	case "query":
		return p.query(rest)
	case "connection":
		return directive(kindConnection, rest, true)
	case "set":
		if name, _, ok := strings.Cut(rest, " "); !ok || !variable.MatchString("${"+name+"}") {
			return nil, errors.New("set needs a name and a value")
		}
		return directive(kindSet, rest, true)
	case "echo":
		return directive(kindEcho, rest, true)
	case "restart":
		return directive(kindRestart, rest, false)
	case "halt":
		return directive(kindHalt, rest, false)
	}
	return nil, fmt.Errorf("unknown directive %q", word)
}

func directive(k kind, arg string, wantsArg bool) (*record, error) {
	if (arg != "") != wantsArg {
		return nil, errors.New("wrong number of words")
	}
	return &record{kind: k, arg: arg}, nil
}

func (p *parser) statement(args string) (*record, error) {
	rec := &record{kind: kindStatement, count: -1}
	word, rest, _ := strings.Cut(args, " ")
	var err error
	switch {
	case word == "ok" && rest == "":
	case word == "count":
		if rec.count, err = strconv.ParseInt(strings.TrimSpace(rest), 10, 64); err != nil {
			return nil, fmt.Errorf("statement count needs a number: %w", err)
		}
	case word == "error":
		if rec.fails, err = parseError(rest); err != nil {
			return nil, err
		}
	default:
		return nil, errors.New("a statement is ok, count N or error SQLSTATE")
	}
	var results bool
	if rec.sql, results = p.sql(); results {
		return nil, errors.New("a statement has no rows, use query")
	}
	return rec, needSQL(rec)
}

func (p *parser) query(args string) (*record, error) {
	rec := &record{kind: kindQuery, sort: "nosort"}
	word, rest, _ := strings.Cut(args, " ")
	if word == "error" {
		var err error
		if rec.fails, err = parseError(rest); err != nil {
			return nil, err
		}
		rec.sql, _ = p.sql()
		return rec, needSQL(rec)
	}
	rec.types = word
	for words := strings.Fields(rest); len(words) > 0; words = words[1:] {
		switch words[0] {
		case "rowsort", "valuesort", "nosort":
			rec.sort = words[0]
		case "eventually":
			if len(words) < 2 {
				return nil, errors.New("eventually needs a time, as 5s")
			}
			d, err := time.ParseDuration(words[1])
			if err != nil {
				return nil, err
			}
			rec.eventually = d
			words = words[1:]
		default:
			return nil, fmt.Errorf("unknown modifier %q", words[0])
		}
	}
	var results bool
	if rec.sql, results = p.sql(); !results {
		return nil, errors.New("a query needs a line ---- and its rows")
	}
	rec.from = p.next
	for p.next < len(p.lines) && p.lines[p.next] != "" {
		rec.expected = append(rec.expected, p.lines[p.next])
		p.next++
	}
	rec.to = p.next
	return rec, needSQL(rec)
}

// sql reads lines up to an empty one or ----, and says whether it was that.
func (p *parser) sql() (sql string, results bool) {
	start := p.next
	for ; p.next < len(p.lines); p.next++ {
		line := p.lines[p.next]
		if line == "----" || strings.TrimSpace(line) == "" {
			sql = strings.Join(p.lines[start:p.next], "\n")
			p.next++
			return sql, line == "----"
		}
	}
	return strings.Join(p.lines[start:], "\n"), false
}

func needSQL(rec *record) error {
	if strings.TrimSpace(rec.sql) == "" {
		return errors.New("no SQL follows")
	}
	return nil
}

var sqlState = regexp.MustCompile(`^[0-9A-Z]{5}$`)

// parseError reads "SQLSTATE [pos N] [regexp]".
func parseError(s string) (*expectedError, error) {
	code, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	if !sqlState.MatchString(code) {
		return nil, fmt.Errorf("error needs a SQLSTATE, not %q", code)
	}
	x := &expectedError{code: code}
	rest = strings.TrimSpace(rest)
	if after, ok := strings.CutPrefix(rest, "pos "); ok {
		num, pattern, _ := strings.Cut(strings.TrimSpace(after), " ")
		pos, err := strconv.ParseInt(num, 10, 32)
		if err != nil {
			return nil, err
		}
		x.pos, rest = int32(pos), strings.TrimSpace(pattern)
	}
	if rest != "" {
		var err error
		if x.pattern, err = regexp.Compile(rest); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// format is the script with the records' expected rows, as -rewrite wants it.
func format(text string, records []*record) string {
	lines := strings.Split(text, "\n")
	var out []string
	done := 0
	for _, rec := range records {
		if rec.kind != kindQuery || rec.fails != nil {
			continue
		}
		out = append(out, lines[done:rec.from]...)
		out = append(out, rec.expected...)
		done = rec.to
		if done >= len(lines) && len(rec.expected) > 0 {
			out = append(out, "") // the file ended without a line break
		}
	}
	out = append(out, lines[min(done, len(lines)):]...)
	return strings.Join(out, "\n")
}
