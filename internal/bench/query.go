// Package bench measures whole queries on the built-in Nexmark source, from
// SQL to a sink that keeps nothing, in one process with the engine.
package bench

import (
	"strings"

	"github.com/streamdb/streamdb/internal/pgerr"
)

// Query is a query of the benchmark. Its SQL reads the relations nx.person,
// nx.auction and nx.bid.
type Query struct{ Name, SQL string }

// queries are those of Nexmark for Flink that the engine can run today, and
// the distinct bidders.
var queries = []Query{
	{"q0", `SELECT auction, bidder, price, date_time, extra FROM nx.bid`},
	{"q1", `SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM nx.bid`},
	{"q2", `SELECT auction, price FROM nx.bid WHERE MOD(auction, 123) = 0`},
	{"q3", `SELECT p.name, p.city, p.state, a.id
FROM nx.auction AS a INNER JOIN nx.person AS p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA')`},
	{"q17", `SELECT auction, to_char(date_time, 'YYYY-MM-DD') AS day,
  count(*) AS total_bids,
  count(*) FILTER (WHERE price < 10000) AS rank1_bids,
  count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
  count(*) FILTER (WHERE price >= 1000000) AS rank3_bids,
  min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
FROM nx.bid GROUP BY auction, to_char(date_time, 'YYYY-MM-DD')`},
	{"distinct", `SELECT DISTINCT bidder FROM nx.bid`},
}

// Queries lists all queries.
func Queries() []Query { return append([]Query(nil), queries...) }

// Names are the queries' names, in order.
func Names() []string {
	var names []string
	for _, q := range queries {
		names = append(names, q.Name)
	}
	return names
}

// Find gives the queries of a list of names; 22023 for one that is not there.
func Find(names []string) ([]Query, error) {
	var out []Query
next:
	for _, n := range names {
		for _, q := range queries {
			if strings.EqualFold(strings.TrimSpace(n), q.Name) {
				out = append(out, q)
				continue next
			}
		}
		return nil, pgerr.New(pgerr.InvalidParameterValue, "there is no benchmark query %q", n).
			WithHint("The queries are %s.", strings.Join(Names(), ", "))
	}
	return out, nil
}
