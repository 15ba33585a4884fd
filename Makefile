# Every command works on a fresh machine with Python >= 3.11 and make: .venv is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Tests and demo start many processes of this project: none is to compile it anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo demo-saga run test test-long test-all test-nightly test-versions prove prove-connectors chaos lint schema dist event-types bench bench-catalogue bench-peers bench-growth bench-outage bench-push bench-takeover bench-isolation bench-scale lock

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## .venv with the locked dependencies

$(STAMP): pyproject.toml client/pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python >= 3.11 is needed; choose one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . -e client
	@touch $@

demo: $(STAMP) ## payments, webhooks, kills and a reckoning, on real Postgres and real Kafka; ends by itself
	$(BIN)/python -m demo

demo-saga: $(STAMP) ## orders across four services that are killed, compensations, a reckoning; ends by itself
	$(BIN)/python -m demo.saga

run: $(STAMP) ## the whole stack until Ctrl-C; WITH=sqs,kafka-2 with what connectors lead to
	$(BIN)/python -m local $(if $(WITH),--with $(WITH))

test: $(STAMP) ## the promises, on real Postgres and real Kafka
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "not long and not nightly and not versions and not alone and not proof"

test-long: $(STAMP) ## what takes longer: outages, kills, stops, failovers, and older releases of Postgres
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "long and not nightly and not versions and not proof"
	$(BIN)/python -m pytest -m alone tests/chaos

test-all: $(STAMP) ## both of these in one run, as .ci/run has them: while some wait, others compute
	$(BIN)/python -m pytest -n 5 --dist worksteal -m "not nightly and not versions and not alone and not proof"
	$(BIN)/python -m pytest -m alone tests/chaos

test-nightly: $(STAMP) ## at length, or once more elsewhere, what the others show in short
	$(BIN)/python -m pytest -n 4 --dist worksteal -m "nightly and not versions"

test-versions: $(STAMP) ## the SQL on the releases of Postgres between the newest and the oldest
	$(BIN)/python -m pytest -n 3 --dist worksteal -m versions

prove: $(STAMP) ## every interleaving of small transactions and relays, all of them
	$(BIN)/python -m tests.schedules

prove-connectors: $(STAMP) ## twenty thousand messages through each connector, while its ends are killed
	$(BIN)/python -m pytest -m proof

chaos: $(STAMP) ## ten minutes of kills, freezes, cut wires and failovers, and a reckoning
	$(BIN)/python -m tests.chaos --kills-at-least 200

lint: $(STAMP) ## ruff, mypy --strict, and which module may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

schema: $(STAMP) ## sql/schema.sql anew, from the migrations, and what the version under way promises
	$(BIN)/python -m local.schema

dist: $(STAMP) ## sdists and wheels of both distributions, into dist/
	$(BIN)/python -m local.distributions

event-types: $(STAMP) ## the files of the sale's event types anew, from what it publishes
	$(BIN)/python -m service.payments.event_types

bench: $(STAMP) ## this relay beside the bare producer and the classic relay, one table
	$(BIN)/python -m bench

bench-peers: $(STAMP) ## beside Debezium Server, txoutbox and faststream-outbox, one table
	$(BIN)/python -m bench.peers

bench-growth: $(STAMP) ## how cost grows with backlog, retention, subscriptions, groups, transactions
	$(BIN)/python -m bench.growth

bench-outage: $(STAMP) ## a minute without Kafka while messages come, and the way back
	$(BIN)/python -m bench.outage

bench-push: $(STAMP) ## signed webhooks beside a bare aiohttp loop, one table
	$(BIN)/python -m bench.push

bench-takeover: $(STAMP) ## relays killed again and again, and how soon the other goes on
	$(BIN)/python -m bench.takeover

bench-catalogue: $(STAMP) ## a publish of an event type that is enforced, and of one that is not, one table
	$(BIN)/python -m bench.catalogue

bench-isolation: $(STAMP) ## healthy endpoints beside one that hangs, is slow, fails, is far behind, is paused
	$(BIN)/python -m bench.push --only isolation

bench-scale: $(STAMP) ## what one Postgres and one relay take, four databases, and the model of it
	$(BIN)/python -m bench.scale

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url

lock: $(STAMP) ## pin versions and hashes anew
	$(LOCK) pyproject.toml --group dev -o requirements.lock
	$(LOCK) pyproject.toml -o requirements.runtime.lock
	$(LOCK) --group build -o requirements.build.lock
