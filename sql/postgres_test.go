package sql

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// corpus gives the statements of testdata/corpus.sql, one a line. They are
// PostgreSQL 15's syntax, all of it accepted or refused by name here.
func corpus(t testing.TB) []string {
	b, err := os.ReadFile("testdata/corpus.sql")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

// verdict is what a server says about the syntax of a statement.
type verdict struct {
	syntax   bool // refused as a syntax error
	message  string
	position int
}

func ourVerdict(src string) verdict {
	_, err := Parse(src)
	var e *pgerr.Error
	if errors.As(err, &e) && e.Code != pgerr.FeatureNotSupported {
		return verdict{true, string(e.Code) + " " + e.Message, e.Position}
	}
	return verdict{}
}

// operatorLabel finds operators that PostgreSQL takes for a label where no
// operand follows ("SELECT a and, b"): here they stay operators.
var operatorLabel = regexp.MustCompile(`(?i)\b(is|and|or|not|in|like|ilike|similar|between|collate)( (,|from|;)|$)`)

// refusedByName tells that a statement is only known by name, so that its
// syntax goes unchecked.
func refusedByName(src string) bool {
	stmts, err := Parse(src)
	if err != nil { // DEFAULT out of place is refused after parsing there
		return pgerr.CodeOf(err) == pgerr.FeatureNotSupported || strings.Contains(err.Error(), "DEFAULT is not allowed")
	}
	for _, s := range stmts {
		stmt := s.Stmt
		if e, ok := stmt.(*Explain); ok {
			stmt = e.Stmt
		}
		switch s := stmt.(type) {
		case *Unsupported, *CreateSource, *CreateSink, *Subscribe:
			return true
		case *Drop:
			return s.Kind == KindSavepoint || s.Kind == KindSource || s.Kind == KindSink
		}
	}
	return false
}

// TestAgainstPostgres compares acceptance, messages and positions with a real
// server, on the corpus and on statements with tokens dropped, doubled and
// swapped. Set STREAMDB_PG_DSN to a scratch PostgreSQL 15; nothing is
// executed there, statements are only prepared.
func TestAgainstPostgres(t *testing.T) {
	dsn := os.Getenv("STREAMDB_PG_DSN")
	if dsn == "" {
		t.Skip("set STREAMDB_PG_DSN to compare with PostgreSQL")
	}
	ctx := context.Background()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	theirs := func(src string) verdict {
		_, err := conn.Prepare(ctx, "", src, nil)
		var e *pgconn.PgError
		// Errors of the analysis after parsing have names in their files.
		if errors.As(err, &e) && (e.File == "scan.l" || e.File == "gram.y" || e.File == "parser.c") && e.Code != "0A000" {
			return verdict{true, e.Code + " " + e.Message, int(e.Position)}
		}
		return verdict{}
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewSource(seed))
	statements := corpus(t)
	count, differ, displaced, exact := 0, 0, 0, true
	check := func(src string) {
		count++
		if refusedByName(src) {
			return
		}
		our, their := ourVerdict(src), theirs(src)
		if !exact && our.syntax == their.syntax {
			if our != their {
				displaced++
			}
			return
		}
		if our != their && !operatorLabel.MatchString(src) {
			if differ++; exact || differ <= 40 {
				report := t.Logf
				if exact {
					report = t.Errorf
				}
				report("%s\n   ours %+v\n theirs %+v", src, our, their)
			}
		}
	}
	for _, s := range statements {
		check(s)
	}
	exact = false
	rounds := 3000
	if n := os.Getenv("STREAMDB_PG_ROUNDS"); n != "" {
		if _, err := fmt.Sscan(n, &rounds); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < rounds; i++ {
		check(mutate(rng, statements))
	}
	t.Logf("%d statements, %d differ in acceptance, %d in message or position", count, differ, displaced)
	if differ > rounds/500+1 {
		t.Errorf("%d of %d broken statements are judged differently", differ, rounds)
	}
	if displaced > rounds/50+1 {
		t.Errorf("%d of %d broken statements get another message or position", displaced, rounds)
	}
}

// mutate drops, doubles or swaps tokens of a statement, or takes one from
// another.
func mutate(rng *rand.Rand, statements []string) string {
	src := statements[rng.Intn(len(statements))]
	toks := sourceTokens(src)
	other := sourceTokens(statements[rng.Intn(len(statements))])
	for n := 1 + rng.Intn(2); n > 0 && len(toks) > 0; n-- {
		i := rng.Intn(len(toks))
		switch rng.Intn(4) {
		case 0:
			toks = append(toks[:i:i], toks[i+1:]...)
		case 1:
			toks = append(toks[:i+1:i+1], toks[i:]...)
		case 2:
			j := rng.Intn(len(toks))
			toks[i], toks[j] = toks[j], toks[i]
		case 3:
			toks[i] = other[rng.Intn(len(other))]
		}
	}
	return strings.Join(toks, " ")
}

func sourceTokens(src string) []string {
	toks, err := lex(src)
	if err != nil {
		panic(err)
	}
	out := make([]string, 0, len(toks))
	for _, t := range toks[:len(toks)-1] {
		out = append(out, src[t.start:t.end])
	}
	return out
}
