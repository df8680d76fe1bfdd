# Every target sets up .venv by itself if it must. `make` alone lists the targets.
#
#   PYTHON=…  the interpreter to build .venv with (otherwise the first below that runs and is new enough)
#   ARGS=…    more arguments for demo, run, test, test-long and bench

MIN_PYTHON := 3.12
CANDIDATES := python3.12 python3.13 python3.14 python3 python
BIN := .venv/bin
PDS := tests/pds

# Nothing of the caller's own Python gets in: neither packages of the user nor of the shell's path.
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH
unexport PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: .venv demo run test test-long test-mutants lint format reference bench postgres test-deps constraints clean help

# --- shell fragments --------------------------------------------------------------------------

# Sets $py to the interpreter to use. A name on PATH proves nothing (a version manager's shim may
# fail), so each is run. One without venv or ensurepip (Debian splits them off) cannot be used.
define find_python
py= seen=; \
if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; else set -- $(CANDIDATES); fi; \
for name; do \
	version=$$("$$name" -E -s -c 'import sys; print(".".join(map(str, sys.version_info[:3])))' 2>/dev/null) \
		|| continue; \
	if ! "$$name" -E -s -c 'import sys; sys.exit(sys.version_info[:2] < tuple(map(int, "$(MIN_PYTHON)".split("."))))'; then \
		seen="$$seen $$name is $$version,"; \
	elif ! "$$name" -I -c 'import ensurepip, venv' 2>/dev/null; then \
		seen="$$seen $$name is $$version but has no venv (Debian: apt install python$${version%.*}-venv),"; \
	else py=$$name; break; fi; \
done; \
if [ -z "$$py" ]; then \
	if [ -n "$$PYTHON" ] && [ -z "$$seen" ]; then seen=" PYTHON=$$PYTHON does not run,"; fi; \
	found=$${seen:- none of $(CANDIDATES) runs,}; \
	echo "atdata-appview needs Python >= $(MIN_PYTHON); found:$${found%,}." >&2; \
	echo "Install one, or name it: make PYTHON=/path/to/python$(MIN_PYTHON)" >&2; \
	exit 1; \
fi
endef

# Which interpreter this is: another build of it, or the same build elsewhere, answers differently.
identity = -I -c 'import sys; print(sys.base_prefix, *sys.version.split())'

# .venv/.stamp is written last and holds what .venv was made from: where and with which interpreter
# (line 1; .venv is remade when that differs) and the sums of both files (line 2; then pip is run
# again). A .venv without it is half made. Taking turns lets several `make` run at once. compileall
# uses every core where pip compiles on one; it reports files that are no Python 3: no matter.
define set_up_venv
set -eu; stamp=.venv/.stamp; \
if command -v flock >/dev/null; then exec 9>.venv.lock; flock 9; fi; \
inputs=$$(cat pyproject.toml constraints.txt | cksum); \
made_with=; made_from=; \
if [ -f $$stamp ] && [ -x $(BIN)/atdata-appview ]; then { read -r made_with && read -r made_from; } < $$stamp || :; fi; \
here="$(CURDIR) $$($(BIN)/python $(identity) 2>/dev/null || :)"; \
if [ -n "$${PYTHON:-}" ]; then \
	wanted="$(CURDIR) $$("$$PYTHON" $(identity) 2>/dev/null || :)"; \
else \
	wanted=$$here; \
fi; \
if [ "$$made_with" = "$$here" ] && [ "$$here" = "$$wanted" ]; then \
	if [ "$$made_from" = "$$inputs" ]; then exit 0; fi; \
	echo "pyproject.toml or constraints.txt has changed: bringing .venv up to date"; \
	rm -f $$stamp; \
else \
	PYTHON=$${PYTHON:-}; \
	$(find_python); \
	echo "Making .venv with Python $$version (a minute or so)"; \
	rm -rf .venv; \
	"$$py" -I -m venv .venv; \
fi; \
$(BIN)/python -I -m pip install --quiet --disable-pip-version-check --no-compile \
	--editable '.[server,atdata,dev]' --constraint constraints.txt; \
$(BIN)/python -I -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || :; \
echo "$(CURDIR) $$($(BIN)/python $(identity))" > $$stamp.new; \
echo "$$inputs" >> $$stamp.new; \
mv $$stamp.new $$stamp
endef

# Sets $sudo to what makes a command root's: nothing for root. Says what is $missing if it cannot be.
define become_root
sudo=; \
if [ "$$(id -u)" -ne 0 ]; then \
	if ! command -v sudo >/dev/null; then echo "Missing:$$missing. Run as root or with sudo." >&2; exit 1; fi; \
	sudo=sudo; \
fi
endef

# --- targets ----------------------------------------------------------------------------------

.venv: ## make or refresh .venv (editable install with everything)
	@$(set_up_venv)

demo: .venv ## an index filled with sample records, API and web pages, on this machine
	@$(BIN)/atdata-appview demo $(ARGS)

run: .venv ## indexer and API in one process, on the live network
	@$(BIN)/atdata-appview run $(ARGS)

test: .venv ## all tests but the long ones
	@$(BIN)/python -m pytest -m "not long" -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-long: .venv ## the long tests (kill and load tests, the large corpus)
	@$(BIN)/python -m pytest -m long $(ARGS)

test-mutants: .venv ## whether the tests notice deliberate faults; fails if one survives
	@$(BIN)/python -m tests.mutants $(ARGS)

lint: .venv ## ruff (rules and format), then mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .venv ## let ruff fix and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

reference: .venv ## make docs/queries.md from the lexicons
	@$(BIN)/python -m atdata_api.reference > docs/queries.md

BENCHMARKS := firehose ingest freshness backfill dependents search load client

bench: .venv ## measure reading, ingest, freshness, backfill, search, load and the client, each on a small scale
	@set -eu; for name in $(BENCHMARKS); do \
		echo "--- $$name"; $(BIN)/python -m benchmarks.$$name --small $(ARGS); \
	done

# PostgreSQL's package makes a cluster of its own, which nothing here uses.
postgres:
	@set -eu; \
	installed() { ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; }; \
	if installed; then exit 0; fi; \
	missing=" postgresql"; \
	if ! command -v apt-get >/dev/null; then \
		echo "Missing:$$missing (15 or newer), for the benchmarks. This target installs on Debian only." >&2; exit 1; \
	fi; \
	$(become_root); \
	echo "Installing:$$missing"; \
	$$sudo apt-get update -qq; \
	$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; \
	if ! installed; then echo "Still no PostgreSQL in /usr/lib/postgresql." >&2; exit 1; fi

# The real PDS of the tests: what it needs from the system, then its packages, remade when the lock
# file or Node changes. better-sqlite3 is compiled here, hence the compiler, and Node's own headers
# where they are installed (node-gyp would download them). HOME may be read-only.
test-deps: postgres ## what the tests need beside Python: Node, the real PDS, PostgreSQL (Debian; elsewhere says what)
	@set -eu; \
	stamp=$(PDS)/node_modules/.stamp; \
	if [ ! -f $(PDS)/package-lock.json ]; then echo "$(PDS)/package-lock.json is missing" >&2; exit 1; fi; \
	node_major() { node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0; }; \
	good_node() { [ "$$(node_major)" -ge 20 ] && [ "$$(node_major)" -le 22 ]; }; \
	wanted() { { cat $(PDS)/package.json $(PDS)/package-lock.json | cksum; node -p 'process.arch + process.versions.modules'; } | tr '\n' ' '; }; \
	if good_node && [ "$$(cat $$stamp 2>/dev/null)" = "$$(wanted)" ]; then exit 0; fi; \
	needs="Node 20 or 22 with npm, and to compile better-sqlite3: python3, make, g++"; \
	missing=; \
	for tool in node npm python3 make g++; do \
		if [ "$$tool" = node ]; then good_node && continue; else "$$tool" --version >/dev/null 2>&1 && continue; fi; \
		missing="$$missing $$tool"; \
	done; \
	if [ -n "$$missing" ]; then \
		if [ "$$(node_major)" -ne 0 ] && ! good_node; then \
			echo "The tests' PDS needs Node 20 or 22, and this is $$(node --version)." >&2; \
			echo "Put one of those first on PATH." >&2; exit 1; \
		fi; \
		if ! command -v apt-get >/dev/null; then \
			echo "Missing:$$missing. This target installs on Debian only; elsewhere install by hand: $$needs." >&2; exit 1; \
		fi; \
		$(become_root); \
		echo "Installing:$$missing"; \
		$$sudo apt-get update -qq; \
		packages=; \
		for tool in $$missing; do case $$tool in \
			node) packages="$$packages nodejs"; \
				candidate=$$(apt-cache policy nodejs | sed -n 's/^ *Candidate: *//p'); \
				major=$${candidate%%.*}; \
				case $$major in 20|21|22) ;; *) \
					echo "The tests' PDS needs Node 20 or 22, and the system's package is $${candidate:-absent}." >&2; \
					echo "Install one of those first, then run this again." >&2; exit 1;; \
				esac;; \
			npm) if ! apt-cache show nodejs | grep -q '^Provides:.*npm'; then packages="$$packages npm"; fi;; \
			*) packages="$$packages $$tool";; \
		esac; done; \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$packages; \
		if ! good_node; then echo "Still no Node 20 or 22 on PATH." >&2; exit 1; fi; \
	fi; \
	if [ ! -w "$${HOME:-/nonexistent}" ]; then \
		export npm_config_cache="$(CURDIR)/.cache/npm" npm_config_devdir="$(CURDIR)/.cache/node-gyp"; \
	fi; \
	prefix=$$(node -p 'path.resolve(process.execPath, "../..")'); \
	if [ -f "$$prefix/include/node/node.h" ]; then export npm_config_nodedir="$${npm_config_nodedir:-$$prefix}"; fi; \
	echo "Installing the tests' PDS (two minutes or so)"; \
	rm -f $$stamp; \
	(cd $(PDS) && npm_config_build_from_source=true npm ci --no-audit --no-fund --no-update-notifier --loglevel=error); \
	wanted > $$stamp

# A fresh resolution of pyproject.toml, without the present constraints; nothing is installed.
constraints: ## renew constraints.txt: the newest releases that fit (needs Python 3.12; minutes)
	@set -eu; PYTHON=$${PYTHON:-python3.12}; \
	$(find_python); \
	case $$version in 3.12.*) ;; *) echo "constraints.txt is for Python 3.12, this is $$version" >&2; exit 1;; esac; \
	tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	"$$py" -I -m venv "$$tmp/venv"; \
	"$$tmp/venv/bin/python" -I -m pip install --quiet --upgrade pip; \
	"$$tmp/venv/bin/python" -I -m pip install --quiet --dry-run --ignore-installed \
		--report "$$tmp/report.json" '.[server,atdata,dev]'; \
	sed -n '/^#/p' constraints.txt > "$$tmp/constraints.txt"; \
	"$$tmp/venv/bin/python" -I -c 'import json, re, sys; \
	found = (item["metadata"] for item in json.load(open(sys.argv[1]))["install"]); \
	pins = {re.sub("[-_.]+", "-", m["name"]).lower(): m["version"] for m in found}; \
	del pins["atdata-appview"]; \
	print(*(f"{name}=={pins[name]}" for name in sorted(pins)), sep="\n")' \
		"$$tmp/report.json" >> "$$tmp/constraints.txt"; \
	cp "$$tmp/constraints.txt" constraints.txt

clean: ## remove .venv, the tests' node_modules, caches and build products (data/ stays)
	@rm -rf .venv .venv.lock $(PDS)/node_modules .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
