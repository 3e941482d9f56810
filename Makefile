# make shows this menu.
DATA   ?= data
LISTEN ?= 127.0.0.1:4577
SEED   ?= 0
FUZZ   ?= 30s

.DEFAULT_GOAL := help
.PHONY: help build run demo test test-long oracle bank kill matrix fuzz bench lint fmt ci

help: ## this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/streamdb
	go build -o bin/streamdb ./cmd/streamdb

run: ## a server on $(DATA), at $(LISTEN)
	go run ./cmd/streamdb serve --data-dir $(DATA) --listen $(LISTEN)

demo: ## sources, continuous queries and a savepoint, live in the terminal
	go run ./cmd/streamdb demo

test: ## all tests; it says what it skipped and how to enable it
	@go test ./... $(ARGS)
	@go test ./internal/testpg -run TestStart -v | sed -n 's/.*\(no PostgreSQL.*\)/skipped: the comparison with PostgreSQL: \1/p'

test-long: oracle bank kill matrix ## what CI runs in small, in full

oracle: ## 2,000 random queries against PostgreSQL
	go test ./internal/oracle -run TestOracle -v -timeout 60m -oracle.n 2000 -oracle.seed $(SEED) $(ARGS)

bank: ## transfers and readers, two minutes
	go test ./internal/bank -v -timeout 10m -bank.for 2m -bank.seed $(SEED) $(ARGS)

kill: ## 20 SIGKILLs under load
	go test ./internal/sim -v -timeout 30m -sim.kills 20 -sim.seed $(SEED) $(ARGS)

matrix: ## every script on every backend, parallelism, protocol, with and without restarts
	go test ./internal/sqltest -run TestStreamDB -timeout 60m -sql.matrix $(ARGS)

fuzz: ## every fuzz target for $(FUZZ)
	@for p in $$(grep -rl --include=*_test.go '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -h '^func Fuzz' $$p/*_test.go | sed 's/func \(Fuzz[A-Za-z0-9_]*\).*/\1/'); do \
	    echo "== $$p $$f"; go test $$p -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZ) || exit 1; \
	  done; done

bench: ## Nexmark end to end, and the kernels
	go run ./cmd/streamdb bench nexmark $(ARGS)
	go test ./... -run '^$$' -bench . -benchmem

lint: ## golangci-lint, if it is installed, and the house's own checks
	@if command -v golangci-lint >/dev/null; then golangci-lint run ./...; \
	else echo "golangci-lint is not installed: go vet instead (.ci/run installs it)"; go vet ./...; fi
	go test ./internal/lint ./internal/invariants

fmt: ## gofmt
	gofmt -w .

ci: ## what every change must pass
	.ci/run
