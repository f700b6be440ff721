# `make help` lists the targets. Those that build or test install what they need first
# (deploy/local/setup.sh).
SHELL := /bin/bash
export PATH := $(or $(CLOUDSTORE_TOOLS),$(HOME)/.cache/cloudstore/tools)/bin:$(HOME)/.cargo/bin:$(PATH):/usr/sbin
.DEFAULT_GOAL := help
# The stack's programs, and the client to talk to it.
programs := -p cloudstore-account -p cloudstore-upload -p cloudstore-download -p cloudstore-transfer -p cloudstore-dbproxy -p cloudstore
.PHONY: help web web-test screenshots run stack stack-down stack-status check test bench openapi fmt clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

web: ## Build the web app, which the programs embed
	@deploy/local/setup.sh web
	@deploy/local/web.sh build

run: web ## Set everything up and run the main job on the embedded default
	@deploy/local/setup.sh build
	cargo build --release --locked -p cloudstore
	deploy/local/main-job.sh

stack: web ## Run the whole cloudstore on this machine: real servers, two of each service, the gateway
	@deploy/local/setup.sh build stack
	cargo build --release --locked $(programs)
	deploy/local/stack.sh up

stack-down: ## Stop all of it; its data stays
	@deploy/local/stack.sh down

stack-status: ## What of it runs and is ready
	@deploy/local/stack.sh status

check: ## Format, lints, docs, dependency rules, unit tests
	@deploy/local/setup.sh check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --all-features --no-deps --locked --document-private-items
	cargo fetch --locked --quiet
	cargo deny --offline --log-level error check bans licenses sources
	cargo nextest run --workspace --locked --features cloudstore-transfer/failpoints --lib --bins
	deploy/local/web.sh check

web-test: ## Drive the web app in a real browser, against a server of its own
	@deploy/local/setup.sh build web browser
	@deploy/local/web.sh build
	cargo build --release --locked -p cloudstore
	deploy/local/web.sh e2e

screenshots: ## Pictures of the web app's pages, in web/shots, for a person to look at
	@deploy/local/setup.sh build web browser
	@deploy/local/web.sh build
	cargo build --release --locked -p cloudstore
	deploy/local/web.sh screenshots

test: web ## Every test: unit, property, contract, real servers, end to end, the main job, faults
	@deploy/local/setup.sh test
	@deploy/local/test.sh

bench: ## Measure against nginx, rclone and servers of tus in the same run, and the web app; writes bench/RESULTS*.md
	@deploy/local/setup.sh build web browser bench
	@deploy/local/web.sh build
	cargo build --release --locked -p cloudstore -p cloudstore-bench
	deploy/local/web.sh throughput
	target/release/cloudstore-bench

openapi: ## Write the description of the HTTP API, proto/openapi.json, anew
	@deploy/local/setup.sh check
	CLOUDSTORE_WRITE_OPENAPI=1 cargo nextest run --workspace --locked --features cloudstore-transfer/failpoints --lib --bins -E 'test(openapi::tests::the_file)'

fmt: ## Format the sources
	cargo fmt --all

clean: ## Remove build output, what `make run` left, and the stack with its data
	@deploy/local/stack.sh clean
	cargo clean
	rm -rf .run web/dist web/node_modules web/shots
