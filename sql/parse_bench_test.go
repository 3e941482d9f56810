package sql

import "testing"

func BenchmarkParse(b *testing.B) {
	for _, c := range []struct{ name, src string }{
		{"point", "SELECT a, b FROM t WHERE id = $1"},
		{"insert", "INSERT INTO t (a, b, c) VALUES ($1, $2, $3)"},
		{"q17", "SELECT auction, date_trunc('day', date_time) AS day, count(*) AS total, count(*) FILTER (WHERE price < 10000) AS low, min(price), max(price), avg(price) FROM bid GROUP BY auction, date_trunc('day', date_time)"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(c.src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
