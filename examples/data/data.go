// Package data holds the records that the demo and the examples use, so that
// the binary has them wherever it runs.
package data

import _ "embed"

// Flights are 20,000 flights in the United States in time order: JSON lines
// with date, delay (minutes), distance (miles), origin and destination.
//
//go:embed flights.jsonl
var Flights []byte

// Airports are 3,376 airports: CSV with a header; iata, name, city, state,
// country, latitude and longitude.
//
//go:embed airports.csv
var Airports []byte
