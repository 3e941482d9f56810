package oracle

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/streamdb/streamdb/types"
)

// difference tells what differs between two answers, "" if nothing does.
func difference(cols []column, ours, theirs *answer) string {
	if d := shapeDifference(cols, ours, theirs); d != "" {
		return d
	}
	left, right := unmatched(ours.rows, theirs.rows)
	// What is left may be the same to the precision that is asked for.
	for i := 0; i < len(left); i++ {
		for j := range right {
			if sameRow(cols, left[i], right[j]) {
				left, right = slices.Delete(left, i, i+1), slices.Delete(right, j, j+1)
				i--
				break
			}
		}
	}
	if len(left) == 0 && len(right) == 0 {
		return ""
	}
	return fmt.Sprintf("%d rows here, %d in PostgreSQL\nonly here:\n%sonly in PostgreSQL:\n%s",
		len(ours.rows), len(theirs.rows), show(left), show(right))
}

// shapeDifference compares names and types of the columns.
func shapeDifference(cols []column, ours, theirs *answer) string {
	if len(ours.names) != len(cols) || len(theirs.names) != len(cols) {
		return fmt.Sprintf("%d columns here, %d in PostgreSQL, %d expected", len(ours.names), len(theirs.names), len(cols))
	}
	for i := range cols {
		if ours.names[i] != theirs.names[i] || ours.types[i] != theirs.types[i] {
			return fmt.Sprintf("column %d is %s of type %d here, and %s of type %d in PostgreSQL", i+1,
				ours.names[i], ours.types[i], theirs.names[i], theirs.types[i])
		}
	}
	return ""
}

// unmatched takes away the rows that stand on both sides, letter for letter.
func unmatched(a, b [][]string) (left, right [][]string) {
	count := map[string]int{}
	for _, row := range b {
		count[strings.Join(row, "\x00")]++
	}
	for _, row := range a {
		if k := strings.Join(row, "\x00"); count[k] > 0 {
			count[k]--
		} else {
			left = append(left, row)
		}
	}
	for _, row := range b {
		if k := strings.Join(row, "\x00"); count[k] > 0 {
			count[k]--
			right = append(right, row)
		}
	}
	return left, right
}

func sameRow(cols []column, a, b []string) bool {
	for i, c := range cols {
		if a[i] != b[i] && !same(c, a[i], b[i]) {
			return false
		}
	}
	return true
}

// same compares two texts that differ.
func same(c column, a, b string) bool {
	if a == null || b == null {
		return false
	}
	switch {
	case c.typ == float8:
		return closeTo(a, b)
	case c.typ == numeric && c.level == rough:
		return closeTo(a, b)
	case c.typ == numeric && c.level == loose:
		x, ok1 := new(big.Rat).SetString(a)
		y, ok2 := new(big.Rat).SetString(b)
		return ok1 && ok2 && x.Cmp(y) == 0
	case c.typ == interval && c.level != exact:
		x, err1 := types.ParseInterval(a)
		y, err2 := types.ParseInterval(b)
		return err1 == nil && err2 == nil && span(x).Cmp(span(y)) == 0
	}
	return false
}

// span is an interval's length as PostgreSQL compares it.
func span(v types.IntervalValue) *big.Int {
	days := big.NewInt(int64(v.Months)*30 + int64(v.Days))
	return days.Mul(days, big.NewInt(86400e6)).Add(days, big.NewInt(v.Micros))
}

func closeTo(a, b string) bool {
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err1 == nil && err2 == nil && (x == y || math.Abs(x-y) <= 1e-9*max(1, math.Abs(x), math.Abs(y)))
}

const shownRows = 6

func show(rows [][]string) string {
	var b strings.Builder
	for i, row := range rows {
		if i == shownRows {
			fmt.Fprintf(&b, "    … and %d more\n", len(rows)-i)
			break
		}
		fmt.Fprintf(&b, "    %q\n", row)
	}
	return b.String()
}
