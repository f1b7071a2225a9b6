# Each target is a few lines here; what takes more is a script in scripts/.
.DEFAULT_GOAL := help
.PHONY: help run build install test check generate vmlinux test-kernels test-debian test-real fuzz soak audit test-faults bench bench-short clean

PREFIX ?= /usr/local
VERSION := $(shell scripts/as-caller git describe --tags --always --dirty 2>/dev/null || echo devel)
export CGO_ENABLED := 0

# Debian packages, installed by the targets that need them, and only when missing.
TEST_PACKAGES := iproute2 tmux tshark
BPF_PACKAGES := clang-19 llvm-19 libbpf-dev
CHECK_PACKAGES := $(BPF_PACKAGES) clang-format-19 shellcheck
# How long each fuzz target runs, and the soak test; short where every change waits for them.
FUZZTIME ?= $(if $(CI),3s,1m)
SOAK ?= $(if $(CI),1m,30m)
KERNELS ?= $(if $(CI),-brief)

REAL_PACKAGES := $(TEST_PACKAGES) redis-server nginx postgresql wrk apache2-utils curl sockperf
BENCH_PACKAGES := redis-server nginx wrk sockperf strace tcpdump tshark iftop nethogs bpftrace

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Show the traffic on lo (root); on an idle machine make some first
	@setpriv --pdeathsig TERM scripts/run

build: ## Build bin/lotrace; needs Go and nothing else
	@scripts/as-caller test ! -e bin -o -w bin || \
		{ echo 'build: bin/ belongs to another user, as after an older make by root: sudo rm -r bin' >&2; exit 1; }
	scripts/as-caller scripts/go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/lotrace ./cmd/lotrace

install: build ## Install it to $(DESTDIR)$(PREFIX)/bin
	install -D -m 0755 bin/lotrace '$(DESTDIR)$(PREFIX)/bin/lotrace'

test: build ## Run all tests; those of the kernel need root, and say so
	@scripts/need $(TEST_PACKAGES)
	@scripts/test

check: ## Format, vet, lint, and prove that generated files are current
	@scripts/need $(CHECK_PACKAGES)
	@scripts/check

generate: ## Compile the BPF programs
	@scripts/need $(BPF_PACKAGES)
	scripts/go generate ./internal/loader ./bench

vmlinux: ## Cut vmlinux.h out of the running kernel's BTF
	scripts/go run ./tools/vmlinux

test-faults: build ## Let everything go wrong that may, at length (root)
	LOTRACE_REQUIRE_KERNEL=1 LOTRACE_TEST_LONG=1 scripts/go test -timeout 30m -count 1 -run '^Test(Faults|ManyCycles)$$' \
		./cmd/lotrace ./internal/loader

test-kernels: ## Run the tests of the kernel side on a matrix of kernels, in qemu
	@scripts/test-kernels $(KERNELS)

test-debian: ## Do what the README begins with on a fresh Debian 12 and 13, in a chroot (root)
	@test/debian/run

test-real: build ## Hold lotrace against Redis, nginx, PostgreSQL and a Go service (root)
	@test/real/install $(REAL_PACKAGES)
	@test/real/run

fuzz: ## Fuzz every target there is, for FUZZTIME each (root: the BPF programs too)
	@FUZZTIME=$(FUZZTIME) scripts/fuzz

soak: build ## Run every command for SOAK over lively traffic: nothing grows, no packet is lost (root)
	LOTRACE=$(CURDIR)/bin/lotrace LOTRACE_REQUIRE_KERNEL=1 SOAK=$(SOAK) \
		scripts/go test -tags soak -count 1 -timeout 0 -v ./test/soak

audit: ## Hold dependencies against their checksums, licences and known vulnerabilities
	@scripts/audit

bench: ## Measure what watching costs, and write it down; 40 minutes (root)
	@test/real/install $(BENCH_PACKAGES)
	scripts/go run ./bench -save

bench-short: ## The same at a glance; 4 minutes, nothing is written (root)
	@test/real/install $(BENCH_PACKAGES)
	scripts/go run ./bench -short

clean: ## Remove what was built here
	rm -rf bin build
