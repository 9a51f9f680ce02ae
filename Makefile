# `make` alone prints this help. Every target installs what it needs first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STATE := .state
PACKAGES := libs/common libs/client libs/convert services/ingest services/scheduler services/trainer \
            services/predictor services/console deploy/ec2host deploy/demo deploy/embedded deploy/aws deploy/setup
EDITABLE := $(foreach package,$(PACKAGES),-e ./$(package))

##@ Start
.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "; printf "usage: make <target>\n"} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z_-]+:.*## / {printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STATE)/dev ## Make the virtual environment with everything, test tools included

.PHONY: demo
demo: $(STATE)/runtime $(STATE)/data ## Tell the whole story on real data (ONCE=1: end with exit code 0)
	@$(BIN)/trainyard demo $(if $(ONCE),--once)

.PHONY: install
install: $(STATE)/runtime ## Make the virtual environment with what users need: `.venv/bin/trainyard up`

##@ Containers
.PHONY: up
up: images ## Start the stack as containers; prints its address and key (docs/compose.md)
	@docker compose up --wait --quiet-pull
	@echo "Trainyard is ready at http://127.0.0.1:$${TRAINYARD_ROUTER_PORT:-8080}"
	@echo "  API key   $$(docker compose exec -T scheduler cat /secrets/admin/key)"

.PHONY: down
down: ## Stop the containers; the data stays (VOLUMES=1 removes it)
	@docker compose --profile '*' down $(if $(VOLUMES),--volumes)

.PHONY: logs
logs: ## Follow what the containers write
	@docker compose logs --follow --tail 50

.PHONY: ps
ps: ## Show the containers
	@docker compose ps --all

.PHONY: demo-docker
demo-docker: $(STATE)/runtime $(STATE)/data images ## The demo on a fresh stack of containers of its own, removed at the end (KEEP=1 keeps it)
	@COMPOSE_PROJECT_NAME=trainyard-demo deploy/compose-demo.sh $(BIN)/trainyard $(if $(KEEP),--keep)

.PHONY: images
images: ## Build the images of all services
	@TRAINYARD_VERSION=$$(cat VERSION) TRAINYARD_REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) docker compose build --quiet

.PHONY: engine
engine: ## Install a Docker engine with its plugins where they are missing, and start it (Debian or Ubuntu, as root)
	@deploy/offline/engine.sh

.PHONY: offline-images
offline-images: engine ## Build the base images from Debian and PyPI, for networks without a container registry
	@deploy/offline/build.sh

##@ Check
.PHONY: test
test: $(STATE)/dev $(STATE)/data ## Unit, contract, integration and end-to-end tests
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

.PHONY: lint
lint: $(STATE)/dev ## ruff and the dependency rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.PHONY: types
types: $(STATE)/dev ## mypy, strict on libs/common
	$(BIN)/mypy

.PHONY: emulators
emulators: $(STATE)/dev $(STATE)/localstack.made ## Whatever is marked any_aws on two other emulators, moto and LocalStack
	$(BIN)/python -m pytest tests/contract tests/integration/aws tests/integration/scheduler/test_store_forgets.py tests/poison tests/cases \
	  --numprocesses 2 --dist loadgroup -m any_aws -k "moto or localstack" --aws moto,localstack --hypothesis-profile full

.PHONY: clients
clients: $(STATE)/dev $(STATE)/clients.made ## MLServer's own client against the predictor
	$(BIN)/python -m pytest tests/clients

.PHONY: cases
cases: $(STATE)/dev ## Twenty faults, each a case, and messages that nobody can read, in front of the real services
	$(BIN)/python -m pytest tests/cases tests/poison --numprocesses 2 --dist loadgroup

.PHONY: sources
sources: $(STATE)/dev $(STATE)/mariadb.made ## Pull sources against a real MariaDB
	$(BIN)/python -m pytest tests/mariadb

.PHONY: compose-test
compose-test: $(STATE)/dev offline-images images ## The loop, kills and limits on the stack as containers; the contract suites on its images
	TESTCONTAINERS_RYUK_DISABLED=true $(BIN)/python -m pytest tests/e2e/compose
	TESTCONTAINERS_RYUK_DISABLED=true $(BIN)/python -m pytest tests/contract tests/integration/aws \
	  --numprocesses 2 --dist loadgroup -m any_aws -k image --aws ministack-image,localstack-image
	TESTCONTAINERS_RYUK_DISABLED=true $(BIN)/python -m pytest tests/contract \
	  --numprocesses 2 --dist loadgroup -k Postgres --postgres image

.PHONY: alerts
alerts: $(STATE)/promtool.made ## The alert rules: Prometheus' own check, and each alert raised and not raised
	cd deploy/prometheus && $(CURDIR)/$(STATE)/promtool/usr/bin/promtool check config prometheus.yml
	cd deploy/prometheus && $(CURDIR)/$(STATE)/promtool/usr/bin/promtool test rules rules_test.yml

.PHONY: audit
audit: $(STATE)/audit.made ## Known vulnerabilities of every locked package (exceptions: requirements/audit-exceptions.toml)
	$(BIN)/python requirements/audit.py $(STATE)/audit/bin/pip-audit

.PHONY: sbom
sbom: $(STATE)/audit.made ## A bill of materials (CycloneDX) for each image, from its lock, in .state/sbom
	@mkdir -p $(STATE)/sbom
	@for package in services/{ingest,scheduler,trainer,predictor,console} deploy/setup; do \
	  image=$$(basename $$package); \
	  $(STATE)/audit/bin/cyclonedx-py requirements requirements/$$image.txt --pyproject $$package/pyproject.toml \
	    --output-reproducible --of JSON --validate -o $(STATE)/sbom/$$image.cdx.json || exit 1; \
	  echo "$(STATE)/sbom/$$image.cdx.json"; \
	done

.PHONY: mutation
mutation: $(STATE)/dev ## Mutation score and branch coverage of worker and scheduler (WRITE=1: docs/evidence/mutation.md)
	$(BIN)/python tests/mutation/measure.py $(if $(WRITE),--write docs/evidence)

.PHONY: chaos
chaos: $(STATE)/dev ## Faults at every step, a storm, zombies (SEED=n repeats a plan; FULL=1: over an hour, into docs/evidence)
	$(BIN)/python $(if $(FULL),tests/chaos/full.py $(if $(SEED),--seed $(SEED)),-m pytest tests/chaos --durations 5)

.PHONY: promotions
promotions: $(STATE)/dev ## A predictor under load while its champion moves 25 times (FULL=1: 10 minutes, into docs/evidence)
	$(BIN)/python -m benchmarks.promotions $(if $(FULL),--minutes 10 --write docs/evidence)

.PHONY: fuzz
fuzz: $(STATE)/dev ## Fuzz the decoder of model files for a minute (FULL=1: 1,000,000 executions, into docs/evidence)
	$(BIN)/python tests/fuzz/run.py $(if $(FULL),--runs 1000000)

.PHONY: golden
golden: $(STATE)/dev $(STATE)/golden.made ## The golden models answer alike with numpy 1.26 and 2, on Python 3.11 and 3.13
	$(BIN)/python tests/golden/elsewhere.py

.PHONY: machines
machines: $(STATE)/dev ## Ingest against a model in memory, step by step in any order (FULL=1: 200 x 30 steps)
	$(BIN)/python -m pytest tests/machines $(if $(FULL),--hypothesis-profile full)

.PHONY: properties
properties: $(STATE)/dev ## What must hold for the scheduler whatever comes, with ten times the inputs of `make test`
	$(BIN)/python -m pytest tests/unit/scheduler -m hypothesis --numprocesses 2 --dist loadgroup --hypothesis-profile full

.PHONY: api
api: $(STATE)/dev ## Services against their own OpenAPI documents (FULL=1: 20,000 requests each, into docs/evidence)
	$(BIN)/python -m tests.api.run $(if $(FULL),--full)

.PHONY: gate-evidence
gate-evidence: $(STATE)/dev ## What the gate promotes: 1,000 simulated A/A retrains, and true gains, into docs/evidence
	OMP_NUM_THREADS=1 $(BIN)/python tests/gate/simulate.py

.PHONY: browser
browser: $(STATE)/browser.made $(STATE)/data ## The console in Chromium against a running stack (screenshots in .state/screenshots)
	$(BIN)/python -m pytest tests/browser

.PHONY: verify
verify: lint types test templates golden fuzz properties machines api clients cases sources emulators alerts audit sbom chaos promotions browser compose-test ## What CI runs

.PHONY: templates
templates: $(STATE)/dev $(STATE)/deploy-lint.made ## The CloudFormation templates: cfn-lint, checkov, who may do what, their user data
	$(STATE)/deploy-lint/bin/cfn-lint deploy/aws/src/trainyard_deploy/templates/*.yaml
	$(STATE)/deploy-lint/bin/checkov -d deploy/aws/src/trainyard_deploy/templates --config-file deploy/aws/checkov.yaml
	$(BIN)/python -m pytest tests/deploy

.PHONY: rehearse
rehearse: $(STATE)/dev offline-images ## All of `trainyard deploy` on an emulator with our images in containers: apply, a model, kills, destroy
	$(BIN)/python -m pytest tests/rehearse --exitfirst --durations 0

.PHONY: restore-drill
restore-drill: $(STATE)/dev ## Restore Postgres to the second before a mistake, from a base backup and its WAL
	$(BIN)/python -m pytest tests/integration/scheduler/test_restore_drill.py

.PHONY: localstack-env
localstack-env: $(STATE)/localstack.made ## Install LocalStack in an environment of its own: its libraries are older

.PHONY: evidence
evidence: ## Everything in full size, with the figures in docs/evidence (over an hour; goes on where it was interrupted)
	$(MAKE) machines FULL=1
	$(MAKE) api FULL=1
	$(MAKE) fuzz FULL=1
	$(MAKE) chaos FULL=1
	$(MAKE) promotions FULL=1
	$(MAKE) gate-evidence

.PHONY: lambda
lambda: $(STATE)/dev ## Pack the predictor for a Lambda function from a zip: .state/predictor.zip
	@rm -rf $(STATE)/predictor
	$(BIN)/python services/predictor/package.py $(STATE)/predictor --zip $(STATE)/predictor.zip

.PHONY: bench
bench: $(STATE)/dev $(STATE)/data $(STATE)/peers.made $(STATE)/peers-http.made $(STATE)/lambda.made ## Benchmarks, each as a ratio to a peer or a limit in the same run
	$(BIN)/python -m benchmarks

##@ Keep
.PHONY: format
format: $(STATE)/dev ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: docs
docs: $(STATE)/runtime ## Write the generated pages of docs/ again
	$(BIN)/python docs/generate.py

.PHONY: vendor
vendor: $(STATE)/uv $(STATE)/frontend.made ## Copy what the console's pages load from npm's locked packages, with their hashes
	$(BIN)/python services/console/frontend/vendor.py $(STATE)/frontend/node_modules

.PHONY: lock
lock: $(STATE)/uv ## Resolve requirements/*.in again into hash-locked files
	cd requirements && for set in bootstrap runtime dev browser peers peers-http peers-mlserver clients predictor awslambdaric images ingest scheduler trainer console setup ministack awscli audit deploy-lint; do \
	  ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $$set.in -o $$set.txt || exit 1; done
	cd requirements && ../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --exclude-newer 2026-03-05 --generate-hashes --no-header localstack.in -o localstack.txt
	cd requirements && ../$(BIN)/uv pip compile --quiet --python-version 3.13 --exclude-newer 2026-03-05 --generate-hashes --no-header localstack-image.in -o localstack-image.txt
	cd requirements && ../$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-header golden-numpy1.in -o golden-numpy1.txt
	cd requirements && ../$(BIN)/uv pip compile --quiet --python-version 3.13 --generate-hashes --no-header golden-python313.in -o golden-python313.txt
	cd requirements && for set in data models-data lambda-emulator; do \
	  ../$(BIN)/uv pip compile --quiet --no-deps --universal --python-version 3.11 --generate-hashes --no-header $$set.in -o $$set.txt || exit 1; done

.PHONY: clean
clean: ## Remove the environment and every cache (not the data directory)
	rm -rf $(VENV) $(STATE) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- stamps: a target is made again when what it was made from has changed ---
$(STATE)/uv: requirements/bootstrap.txt
	@mkdir -p $(STATE)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	  || { echo "trainyard: '$(PYTHON)' is not Python 3.11, 3.12 or 3.13; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "trainyard: this Python has no venv module; on Debian or Ubuntu install it with: apt-get install python3-venv" >&2; exit 1; }
	@echo "making the virtual environment in $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@touch $@

$(STATE)/runtime: $(STATE)/uv requirements/runtime.txt VERSION $(PACKAGES:%=%/pyproject.toml)
	@echo "installing the locked packages"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements/runtime.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(EDITABLE)
	@touch $@

$(STATE)/dev: $(STATE)/runtime requirements/dev.txt
	@echo "installing the test tools"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@touch $@

$(STATE)/frontend.made: services/console/frontend/package-lock.json
	@mkdir -p $(STATE)
	@command -v npm >/dev/null || { \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "installing npm"; \
	    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends npm; } >$(STATE)/npm.log 2>&1 \
	      || { tail -n 20 $(STATE)/npm.log >&2; exit 1; }; \
	  else \
	    echo "trainyard: this needs npm; on Debian or Ubuntu install it with: apt-get install npm" >&2; exit 1; \
	  fi; }
	@echo "installing the locked npm packages in $(STATE)/frontend"
	@rm -rf $(STATE)/frontend && mkdir -p $(STATE)/frontend
	@cp services/console/frontend/package.json services/console/frontend/package-lock.json $(STATE)/frontend
	@cd $(STATE)/frontend && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

$(STATE)/browser.made: $(STATE)/dev $(STATE)/frontend.made requirements/browser.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/browser.txt
	@command -v chromium >/dev/null || { \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "installing chromium"; \
	    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } >$(STATE)/browser.log 2>&1 \
	      || { tail -n 20 $(STATE)/browser.log >&2; exit 1; }; \
	  else \
	    echo "trainyard: these tests need Chromium; on Debian install it with: apt-get install chromium" >&2; exit 1; \
	  fi; }
	@touch $@

$(STATE)/localstack.made: $(STATE)/uv requirements/localstack.txt
	@echo "installing LocalStack in $(STATE)/localstack"
	@$(PYTHON) -m venv --clear $(STATE)/localstack
	@$(BIN)/uv pip install --quiet --python $(STATE)/localstack/bin/python --require-hashes --compile-bytecode -r requirements/localstack.txt
	@touch $@

$(STATE)/audit.made: $(STATE)/dev requirements/audit.txt
	@echo "installing pip-audit and cyclonedx-py in $(STATE)/audit"
	@$(PYTHON) -m venv --clear $(STATE)/audit
	@$(BIN)/uv pip install --quiet --python $(STATE)/audit/bin/python --require-hashes -r requirements/audit.txt
	@touch $@

$(STATE)/deploy-lint.made: $(STATE)/uv requirements/deploy-lint.txt
	@echo "installing cfn-lint and checkov in $(STATE)/deploy-lint"
	@$(PYTHON) -m venv --clear $(STATE)/deploy-lint
	@$(BIN)/uv pip install --quiet --python $(STATE)/deploy-lint/bin/python --require-hashes --compile-bytecode -r requirements/deploy-lint.txt
	@touch $@

$(STATE)/mariadb.made:
	@mkdir -p $(STATE)
	@command -v mariadbd >/dev/null || test -x /usr/sbin/mariadbd || { \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "installing mariadb-server"; \
	    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends mariadb-server; } >$(STATE)/mariadb.log 2>&1 \
	      || { tail -n 20 $(STATE)/mariadb.log >&2; exit 1; }; \
	  else \
	    echo "trainyard: these tests need MariaDB; on Debian or Ubuntu install it with: apt-get install mariadb-server" >&2; exit 1; \
	  fi; }
	@touch $@

# promtool out of Debian's package, which is not installed: that would start a server. Where there is one, it is taken.
$(STATE)/promtool.made:
	@rm -rf $(STATE)/promtool && mkdir -p $(STATE)/promtool/usr/bin
	@if command -v promtool >/dev/null; then ln -s "$$(command -v promtool)" $(STATE)/promtool/usr/bin/promtool; \
	elif command -v apt-get >/dev/null; then \
	  echo "unpacking Debian's prometheus in $(STATE)/promtool"; \
	  cd $(STATE)/promtool && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } >../promtool.log 2>&1 \
	    && dpkg-deb -x prometheus_*.deb . || { tail -n 20 ../promtool.log >&2; exit 1; }; \
	else echo "trainyard: this needs promtool; install Prometheus and try again" >&2; exit 1; fi
	@touch $@

# A Python 3.13 of this machine, or that of a Debian 13 in a folder of its own.
$(STATE)/golden.made: $(STATE)/uv requirements/golden-numpy1.txt requirements/golden-python313.txt
	@echo "installing what the golden models are also read with in $(STATE)/golden"
	@rm -rf $(STATE)/golden && mkdir -p $(STATE)/golden
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --python-version 3.11 --only-binary :all: --require-hashes \
	  --target $(STATE)/golden/numpy1 -r requirements/golden-numpy1.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --python-version 3.13 --only-binary :all: --require-hashes \
	  --target $(STATE)/golden/python313 -r requirements/golden-python313.txt
	@$(BIN)/uv python find --quiet --no-python-downloads 3.13 >$(STATE)/golden/python313.path 2>/dev/null || { \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "installing Debian 13 for its Python 3.13"; \
	    { command -v debootstrap >/dev/null || { apt-get update && apt-get install -y --no-install-recommends debootstrap; }; \
	      debootstrap --variant=minbase --include=python3 trixie $(STATE)/golden/trixie; } >$(STATE)/golden.log 2>&1 \
	      || { tail -n 20 $(STATE)/golden.log >&2; exit 1; }; \
	  else \
	    echo "trainyard: these tests need Python 3.13; install one and try again" >&2; exit 1; \
	  fi; }
	@touch $@

$(STATE)/clients.made: $(STATE)/uv requirements/clients.txt
	@echo "installing MLServer's client in $(STATE)/clients"
	@$(PYTHON) -m venv --clear $(STATE)/clients
	@$(BIN)/uv pip install --quiet --python $(STATE)/clients/bin/python --require-hashes -r requirements/clients.txt
	@touch $@

$(STATE)/peers.made: $(STATE)/uv requirements/peers.txt requirements/models-data.txt
	@echo "installing what the benchmarks compare with in $(STATE)/peers"
	@$(PYTHON) -m venv --clear $(STATE)/peers
	@$(BIN)/uv pip install --quiet --python $(STATE)/peers/bin/python --require-hashes --compile-bytecode -r requirements/peers.txt
	@$(BIN)/uv pip install --quiet --python $(STATE)/peers/bin/python --no-deps --require-hashes -r requirements/models-data.txt
	@touch $@

# Other servers of models, MLServer apart from them since it needs an older event loop; and what puts load on all of them.
$(STATE)/peers-http.made: $(STATE)/uv requirements/peers-http.txt requirements/peers-mlserver.txt
	@command -v wrk >/dev/null || { \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "installing wrk"; \
	    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends wrk; } >$(STATE)/wrk.log 2>&1 \
	      || { tail -n 20 $(STATE)/wrk.log >&2; exit 1; }; \
	  else \
	    echo "trainyard: the benchmarks need wrk; on Debian or Ubuntu install it with: apt-get install wrk" >&2; exit 1; \
	  fi; }
	@for set in peers-http peers-mlserver; do \
	  echo "installing servers to compare with in $(STATE)/$$set"; \
	  $(PYTHON) -m venv --clear $(STATE)/$$set || exit 1; \
	  $(BIN)/uv pip install --quiet --python $(STATE)/$$set/bin/python --require-hashes --compile-bytecode \
	    -r requirements/$$set.txt || exit 1; \
	done
	@touch $@

# The function as Lambda gets it, and Lambda's emulator from the package that carries it.
$(STATE)/lambda.made: $(STATE)/dev requirements/predictor.txt requirements/lambda-emulator.txt \
                      $(shell find libs/common/src services/predictor -name '*.py' 2>/dev/null)
	@echo "packing the predictor for Lambda in $(STATE)/lambda"
	@rm -rf $(STATE)/lambda && mkdir -p $(STATE)/lambda
	@$(BIN)/python services/predictor/package.py $(STATE)/lambda/task
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --target $(STATE)/lambda/sam \
	  -r requirements/lambda-emulator.txt
	@case "$$(uname -m)" in aarch64|arm64) arch=arm64;; *) arch=x86_64;; esac; \
	  install -m 755 "$(STATE)/lambda/sam/samcli/local/rapid/aws-lambda-rie-$$arch" $(STATE)/lambda/rie
	@rm -rf $(STATE)/lambda/sam && touch $@

$(STATE)/data: $(STATE)/runtime requirements/data.txt
	@echo "installing the demo's data"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --require-hashes -r requirements/data.txt
	@touch $@
