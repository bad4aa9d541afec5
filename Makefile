# Everything a developer or a visitor runs. `make help` lists it.
.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

TOOL := e2e/cluster/cluster
CRD := charts/apocryph-provider/templates/crd.yaml
SCHEMA := deploy/manifest.schema.json
CODES := deploy/codes.md

.PHONY: help demo down test unit chart e2e bench check generate build up

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## the main job, seen: a real cluster, the chart, a stranger's pod that answers (KEEP=1 leaves it up; CLUSTER=existing: README)
	@e2e/demo/run

down: ## end what `make demo KEEP=1` left up
	@e2e/demo/down

test: ## all tests: unit, property, snapshot, chart, end-to-end on a real cluster (KEEP=1 leaves the cluster up)
	@e2e/tests/run

unit: ## only the tests that need no cluster
	cargo test --workspace --locked

e2e: ## only the end-to-end tests, on a cluster that is up (ONLY=name runs those whose names contain it)
	@e2e/tests/run --only-e2e $(ONLY)

bench: ## measure, one table: accept latency, provisions per second beside their floor, writes, memory and CPU (about 5 minutes)
	@e2e/tests/run --bench

up: ## start the test cluster and leave it up
	@$(TOOL) tools
	@$(TOOL) up

build: ## the operator and the client, as the demo and the tests use them
	cargo build --workspace --locked

# By --bin, not -p: one package alone has other features, and every dependency would be built once more.
check: ## fast: format, clippy with warnings as errors, generated files current
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features apocryph-e2e/cluster --locked -- -D warnings
	@cargo run -q --bin apocryph-crd --locked -- --chart | diff -u $(CRD) - \
	  || { echo "$(CRD) is stale: run 'make generate' and commit it"; exit 1; }
	@cargo run -q --bin apocryph-manifest-schema --locked | diff -u $(SCHEMA) - \
	  || { echo "$(SCHEMA) is stale: run 'make generate' and commit it"; exit 1; }
	@cargo run -q --bin apocryph-crd --locked -- --codes | diff -u $(CODES) - \
	  || { echo "$(CODES) is stale: run 'make generate' and commit it"; exit 1; }

generate: ## write the generated files anew (the chart's copy of the CRD, the manifest's JSON Schema, the page of codes)
	cargo run -q --bin apocryph-crd --locked -- --chart > $(CRD).new
	mv $(CRD).new $(CRD)
	cargo run -q --bin apocryph-manifest-schema --locked > $(SCHEMA).new
	mv $(SCHEMA).new $(SCHEMA)
	cargo run -q --bin apocryph-crd --locked -- --codes > $(CODES).new
	mv $(CODES).new $(CODES)
