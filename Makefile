# Everything a contributor runs, each by one word. Needs only Rust stable, Python (3.9 or newer to
# run, 3.10 to test), GNU make and git, and for `make test` Node.js, npm and Chromium:
# scripts/fetch-tools gets the rest into .barid.

CARGO ?= cargo

# For the tests: a real nats-server and a Python with other people's clients. In the recipe and not
# in a make variable, so that `make build` fetches nothing; and a failed fetch stops the recipe.
TEST_ENV = nats=$$(scripts/fetch-tools nats-server) && python=$$(scripts/fetch-tools python) && \
	BARID_TEST_NATS_SERVER="$$nats" BARID_TEST_PYTHON="$$python"

.DEFAULT_GOAL := help
.PHONY: help run tools build test check browser soak events api fmt clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# nats-server first: without a network, that fails before the long build and not after it.
run: ## Build Barid and run it with its demo until Ctrl-C
	@scripts/fetch-tools nats-server >/dev/null
	$(CARGO) build --release --locked
	@exec scripts/run

tools: ## Fetch nats-server into .barid/bin, unless one is installed
	@scripts/fetch-tools nats-server

build: ## Build target/release/barid
	$(CARGO) build --release --locked

# First of all whether the last of them can run.
test: ## Run all tests
	@scripts/browser check
	$(TEST_ENV) $(CARGO) test --locked
	@$(MAKE) --no-print-directory browser

browser: ## Test the dashboard in Chromium
	@scripts/browser check
	$(CARGO) build --locked
	nats=$$(scripts/fetch-tools nats-server) && scripts/browser run "$$nats"

# The quick ones first, then those that compile.
check: ## Check format, proto files, licences, deploy/, lints and docs
	$(CARGO) fmt --check
	buf=$$(scripts/fetch-tools buf) && "$$buf" lint
	scripts/check-licences --self-test
	scripts/check-licences
	scripts/check-deploy
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --locked --document-private-items

# The cluster's tests one by one: they print how long a failover takes.
soak: ## Run the model and webhooks over crashes for long, and measure failovers of a cluster
	$(TEST_ENV) BARID_SOAK=1 $(CARGO) test --release --locked --test it model -- --nocapture
	$(TEST_ENV) BARID_SOAK=1 $(CARGO) test --release --locked --test it webhook_schedules -- --nocapture
	$(TEST_ENV) BARID_SOAK=1 $(CARGO) test --release --locked --test it cluster:: -- \
		--skip bad_clusters --nocapture --test-threads=1

# Apart from `test`, because it needs Node.js and npm; and Chromium, if that is to be checked, too.
events: ## Check that other people's EventSource resumes exactly: npm's, and Chromium's if it is there
	$(CARGO) build --locked
	npm ci --silent --prefix tests/eventsource
	nats=$$(scripts/fetch-tools nats-server) && nats=$$(realpath "$$nats") && \
	node tests/eventsource/check.mjs "$${CARGO_TARGET_DIR:-$$PWD/target}/debug/barid" "$$nats" \
		"$$(command -v chromium || true)"

# Apart from `test`, because it needs Python 3.11 and takes minutes.
api: ## Check the HTTP interface against its own description, by schemathesis
	$(CARGO) build --locked
	nats=$$(scripts/fetch-tools nats-server) && python=$$(scripts/fetch-tools python-api) && \
	"$$python" -B tests/web/check_api.py "$${CARGO_TARGET_DIR:-$$PWD/target}/debug/barid" "$$nats"

fmt: ## Format the Rust code
	$(CARGO) fmt

# .barid stays: it holds downloads, not results, and knows itself when it is out of date.
clean: ## Remove what the build made
	$(CARGO) clean
