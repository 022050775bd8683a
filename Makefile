# `make help` lists the targets. Continuous integration is .ci/run.

SHELL := /bin/bash
CARGO ?= cargo
# Nothing but root needs no sudo.
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Where Cargo builds.
BUILT := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Debian packages behind the programs that the tests call.
TEST_PACKAGES := swaks curl python3 python3-yaml e2fsprogs mount
TEST_PROGRAMS := swaks curl python3 mkfs.ext4 mount

.DEFAULT_GOAL := help
FUZZ_TARGETS := session command address address_list addressees data header parts record reply search
# Seconds for each target, and the octets of an input.
FUZZ_SECONDS ?= 60
FUZZ_LENGTH := 4096
# `make deb DEB_PROFILE=dev` takes the debug binary, for tests of the package itself.
DEB_PROFILE ?= dist
DEB_VERSION ?= $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)
DEB_DIRECTORY ?= target/debian
DEB_BUILT := target/$(if $(filter dev,$(DEB_PROFILE)),debug,$(DEB_PROFILE))

.PHONY: help run build dist deb deb-tool image static test test-page screenshots test-system test-migration test-crash-long test-power-long sbom fuzz fuzz-smoke floods fuzz-tools check figures fmt audit bench doc clean compiler test-programs test-servers test-report test-browser

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## builds, then relays to a built-in Gmail look-alike: nothing leaves the machine
	target/release/pillarbox sandbox

build: compiler ## the release binary, target/release/pillarbox
	$(CARGO) build --release --locked

dist: compiler ## the binary of package and image: smaller, longer to build, target/dist/pillarbox
	$(CARGO) build --profile dist --locked --bin pillarbox
	@ls -l "$${CARGO_TARGET_DIR:-target}/dist/pillarbox"

deb: compiler deb-tool ## the Debian package, in target/debian
	$(CARGO) build --locked --profile $(DEB_PROFILE) --bin pillarbox --example manuals
	rm -rf target/manuals && $(DEB_BUILT)/examples/manuals target/manuals
	gzip -9n <CHANGELOG.md >target/manuals/changelog.gz
	$(CARGO) deb --locked --no-build --profile $(DEB_PROFILE) --deb-version $(DEB_VERSION) --output $(DEB_DIRECTORY)/

test-system: ## installs package and image for real, in containers; needs a Docker engine, and says so without one
	tests/system/run

# glibc, because every machine that can build at all has its static libraries; STATIC_TARGET names another target,
# such as x86_64-unknown-linux-musl. With --target the flag stays away from build scripts and procedural macros.
STATIC_TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')

static: compiler ## a static binary for containers with nothing else in them, target/static/pillarbox
	RUSTFLAGS="$(RUSTFLAGS) -C target-feature=+crt-static" \
	    $(CARGO) build --profile dist --locked --bin pillarbox --target $(STATIC_TARGET)
	@target="$${CARGO_TARGET_DIR:-target}"; mkdir -p "$$target/static"; \
	    install -m 0755 "$$target/$(STATIC_TARGET)/dist/pillarbox" "$$target/static/pillarbox"; \
	    ls -l "$$target/static/pillarbox"

test: compiler test-programs test-servers test-report ## installs what the tests need and runs them all
	$(CARGO) test --locked --workspace --doc
	$(CARGO) test --locked --workspace --examples
	$(CARGO) test --locked --workspace --lib --bins --tests

test-page: compiler test-browser ## the page in a real Chromium, which it installs; pictures of it in target/page
	$(CARGO) build --locked --bin pillarbox
	cd tests/browser && PILLARBOX_PROGRAM="$(BUILT)/debug/pillarbox" PILLARBOX_PICTURES="$(BUILT)/page" \
	    $(CARGO) test --locked

screenshots: test-page ## the pictures of the README, made anew from what test-page has looked at
	mkdir -p docs/pictures
	cp "$(BUILT)/page/readme-good-day.png" docs/pictures/good-day.png
	cp "$(BUILT)/page/readme-spent-day.png" docs/pictures/spent-day.png

test-migration: compiler ## `pillarbox migrate` with the configuration files of real Debian packages (fetches them)
	$(CARGO) build --locked
	tests/migrate/real_files target/debug/pillarbox

image: ## the container image "pillarbox"; needs an engine (docs/containers.md)
	docker build -t pillarbox .

test-crash-long: compiler ## the crash tests with 1,000 kills each: on a disk, about half an hour, and in a database
	PILLARBOX_CRASH_KILLS=1000 $(CARGO) test --locked --test all crash:: -- --nocapture

test-power-long: compiler ## the power-cut tests with 100 cuts each; needs root and loop devices
	PILLARBOX_POWER_CUTS=100 $(CARGO) test --locked --test all -- --nocapture power_cut::nothing power_cut::a_power

fuzz: compiler fuzz-tools ## every fuzz target for FUZZ_SECONDS (60) each; FUZZ_TARGETS="session" chooses
	@cp Cargo.lock fuzz/Cargo.lock
	@cd fuzz && for target in $(FUZZ_TARGETS); do \
	    mkdir -p found/$$target; \
	    echo "fuzz: $$target for $(FUZZ_SECONDS) s"; \
	    CARGO_UNSTABLE_PROFILE_HINT_MOSTLY_UNUSED=true \
	        $(CARGO) +nightly fuzz run -O -s none $$target found/$$target corpus/$$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -max_len=$(FUZZ_LENGTH) -timeout=10 -print_final_stats=1 || exit 1; \
	done

fuzz-smoke: compiler ## the fuzz targets on stable: the committed corpus and random changes of it
	$(CARGO) test --locked --test all fuzz_corpus::

floods: compiler ## honest mail under floods, in full: 2,000 connections, 100,000 NOOPs, a message of 1 GiB
	PILLARBOX_FLOODS=full $(CARGO) test --locked --test all floods:: -- --nocapture --test-threads=1

check: compiler ## formatting, lints, documentation, dependencies: as strict as CI
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --no-default-features --lib --bins -- -D warnings
	cd tests/browser && $(CARGO) fmt --check && $(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	    $(CARGO) deny --locked --workspace check bans licenses sources \
	        && $(CARGO) deny --locked --manifest-path tests/browser/Cargo.toml check -A license-not-encountered -A unmatched-skip bans licenses sources; \
	else \
	    echo "check: cargo-deny is not installed, dependencies are NOT checked (cargo install cargo-deny)"; \
	fi

figures: ## lines of code, lengths, circles of files, public items, packages, sizes of the binaries
	.ci/figures

fmt: ## formats the code
	$(CARGO) fmt --all

audit: ## known vulnerabilities of dependencies (fetches the advisory database; needs cargo-deny)
	$(CARGO) deny --locked --workspace check advisories

sbom: compiler ## what the program is made of, as target/sbom/pillarbox.cdx.json (CycloneDX)
	@$(CARGO) deny --version >/dev/null 2>&1 || { echo "Installing cargo-deny."; $(CARGO) install --locked cargo-deny; }
	@mkdir -p target/sbom
	.ci/sbom >target/sbom/pillarbox.cdx.json

bench: compiler ## measures, beside Postfix on the same machine
	benches/run

doc: compiler ## the documentation of the code, in target/doc
	$(CARGO) doc --locked --workspace --no-deps --document-private-items

clean: ## removes everything that was built
	$(CARGO) clean

# ring compiles C, and Rust links with cc: a fresh Debian has neither.
compiler:
	@command -v $(CARGO) >/dev/null || { \
	    echo "Rust is missing. Install it from https://rustup.rs (Rust 1.91 or later), then run make again."; exit 1; }
	@command -v cc >/dev/null || { echo "Installing a C compiler (build-essential)."; \
	    $(call install,build-essential); }

deb-tool:
	@$(CARGO) deb --version >/dev/null 2>&1 || { echo "Installing cargo-deb, which makes the package."; \
	    $(CARGO) install cargo-deb --locked || { echo "Please install by hand: cargo install cargo-deb"; exit 1; }; }
	@command -v dpkg-shlibdeps >/dev/null || { echo "Installing dpkg-dev, which finds the package's dependencies."; \
	    $(call install,dpkg-dev); }

fuzz-tools:
	@command -v rustup >/dev/null && rustup run nightly rustc --version >/dev/null 2>&1 || { \
	    echo "Fuzzing needs a nightly compiler: rustup toolchain install nightly. (make fuzz-smoke needs none.)"; \
	    exit 1; }
	@$(CARGO) fuzz --version >/dev/null 2>&1 || { \
	    echo "Fuzzing needs cargo-fuzz: cargo install cargo-fuzz --locked. (make fuzz-smoke does not.)"; exit 1; }
	@command -v c++ >/dev/null || { echo "Fuzzing needs a C++ compiler: apt-get install g++."; exit 1; }

# Installs only what is missing, so that a machine without network but with the programs can test.
test-programs:
	@missing=""; for program in $(TEST_PROGRAMS); do \
	    PATH="$$PATH:/usr/sbin:/sbin" command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	python3 -c 'import yaml' 2>/dev/null || missing="$$missing python3-yaml"; \
	if [ -n "$$missing" ]; then echo "Missing for the tests:$$missing. Installing $(TEST_PACKAGES)."; \
	    $(call install,$(TEST_PACKAGES)); fi

# What make test-page needs: Debian's own browser, whose driver is of the same version, and axe-core below target/.
test-browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
	    echo "Missing for the tests in a browser: chromium, chromium-driver. Installing them."; \
	    $(call install,chromium chromium-driver fonts-dejavu-core); }
	@[ -e target/axe-core/axe.min.js ] || command -v npm >/dev/null || { \
	    echo "Missing for the tests in a browser: npm, which fetches axe-core. Installing it."; \
	    $(call install,npm); }
	@tests/browser/fetch

# Unpacked below target/, not installed: Postfix would replace the mail server of the machine.
test-servers:
	@tests/upstreams/fetch
	@tests/fleet/fetch

# Says beforehand which tests this machine cannot run, so that a green run claims no more than it showed.
test-report:
	@if [ "$$(id -u)" != 0 ]; then \
	    echo "test: power cut and full disk will NOT RUN: they mount disk images, which needs root"; \
	    echo "test: Postfix as upstream will NOT RUN: its master needs root (aiosmtpd runs)"; \
	elif [ ! -e /dev/loop-control ] || ! losetup --find >/dev/null 2>&1; then \
	    echo "test: power cut and full disk will NOT RUN: no loop device on this machine"; \
	else echo "test: this machine can run every test"; fi

# $(call install,PACKAGES)
define install
command -v apt-get >/dev/null || { echo "This is no Debian: please install by hand: $(1)"; exit 1; }; \
if [ -n "$(SUDO)" ] && ! command -v sudo >/dev/null; then \
    echo "Please install as root: apt-get install $(1)"; exit 1; fi; \
$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get update -q \
    && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(1) \
    || { echo "Installing failed. Please install by hand: $(1)"; exit 1; }
endef
