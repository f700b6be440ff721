# `make help` lists the targets. Those that build or test install what they need first
# (deploy/local/setup.sh).
SHELL := /bin/bash
export PATH := $(or $(CLOUDSTORE_TOOLS),$(HOME)/.cache/cloudstore/tools)/bin:$(HOME)/.cargo/bin:$(PATH):/usr/sbin
.DEFAULT_GOAL := help
.PHONY: help run check test bench fmt clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## Set everything up and run the main job on the embedded default
	@deploy/local/setup.sh build
	cargo build --release --locked -p cloudstore
	deploy/local/main-job.sh

check: ## Format, lints, docs, dependency rules, unit tests
	@deploy/local/setup.sh check
	@deploy/local/setup.sh test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --no-deps --locked --document-private-items
	cargo deny --offline --log-level error check bans licenses sources
	cargo nextest run --workspace --locked --lib --bins

test: ## Every test: unit, property, contract, end to end, kill -9, full disk
	@deploy/local/setup.sh test
	cargo nextest run --workspace --locked

bench: ## Measure against nginx in the same run; writes bench/RESULTS.md
	@deploy/local/setup.sh bench
	cargo build --release --locked -p cloudstore -p cloudstore-bench
	target/release/cloudstore-bench

fmt: ## Format the sources
	cargo fmt --all

clean: ## Remove build output and what `make run` left
	cargo clean
	rm -rf .run
