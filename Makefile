# Every target gets what it needs through the go command; only `race` needs a C compiler, and `reader`
# Python 3 (`test` goes on without it). `make ci` is what a submission must pass.

GO     ?= go
PYTHON ?= python3

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# Systems that the project must build for, beside the machine's own: with its tests, and without.
PLATFORMS := linux/arm64 linux/386 linux/s390x darwin/arm64 freebsd/amd64
BUILDS    := openbsd/amd64 windows/amd64

# Modules of their own: what they need never reaches a program that uses the library.
MODULES := internal/powercut bench

# Tests and tools have memory enough: where garbage is collected less often, they take a quarter less
# time.
export GOGC ?= 400

FUZZTIME  ?= 20 # seconds for each target
FUZZTOTAL ?= 0  # seconds for all of them, 0: no limit
TESTFLAGS ?=
RACEFLAGS ?=

# No test may fail because the machine is busy: this limit ends what hangs.
TIMEOUT ?= 3h
# go test, and which tests it has skipped, and why.
GOTEST  := GO="$(GO)" $(GO) run ./internal/testutil/gotest
# How long make torture takes, and which faults (a regular expression; all).
TORTURE   ?= 2h
FAULTS    ?=

.PHONY: bench bench-full bench-smoke test test-long race lint fmt fuzz cover golden demo reader ci vet vet-all tidy torture help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

test: ## every test, the long ones with small counts: Go's, and the Python reader's
	$(GOTEST) -timeout $(TIMEOUT) $(TESTFLAGS) ./...
	$(GOTEST) -C internal/powercut -timeout $(TIMEOUT) $(TESTFLAGS) ./...
	@if command -v $(PYTHON) >/dev/null; then $(MAKE) --no-print-directory reader; \
		else echo "skipped: $(PYTHON) is not installed (tests of the independent reader)"; fi

test-long: ## the same with counts that take longer, as CI runs them
	MMJOURNAL_LONG=1 $(MAKE) --no-print-directory test

torture: ## the long counts of every fault for TORTURE, a table at the end: docs/DURABILITY.md
	$(GO) run ./internal/testutil/torture/drive -time $(TORTURE) -only '$(FAULTS)'

# The walks through crash states and flipped bits are long and have one goroutine: a taste of them is
# enough for checkptr.
race: ## the Go tests under the race detector and checkptr, the long walks shortened
	CGO_ENABLED=1 MMJOURNAL_MODEL_STATES=2000 \
		$(GO) test -race -short -timeout $(TIMEOUT) -skip '^TestEveryBit$$' $(RACEFLAGS) ./...

bench: ## the journal, its peers and the limits, side by side, in five minutes
	cd bench && GOGC=100 $(GO) run . -short

bench-full: ## the same at length, into bench/RESULTS.md: wants an idle machine and 50 GB of disk
	cd bench && GOGC=100 $(GO) run . -full -o RESULTS.md -svg charts

bench-smoke: ## the benchmark's own tests, and all of it with hardly any data
	$(GO) -C bench test -timeout $(TIMEOUT) ./...

reader: ## tests of the independent reader, docs/reader
	$(PYTHON) docs/reader/test_reader.py
	$(PYTHON) docs/reader/test_verdicts.py

demo: ## write, kill, recover, resume, verify: the whole story
	$(GO) run ./cmd/journaltool demo

fuzz: ## every fuzz target for FUZZTIME seconds
	GO="$(GO)" bash .ci/fuzz $(FUZZTIME) $(FUZZTOTAL)

cover: ## coverage over all packages, as cover.html
	$(GO) test -timeout $(TIMEOUT) -coverprofile=cover.out -coverpkg=./... ./...
	$(GO) tool cover -html=cover.out -o cover.html
	$(GO) tool cover -func=cover.out | tail -n 1

golden: ## rewrite the golden files of all tests that have -update; read the diff!
	@for dir in $$(grep -rlE 'flag\.Bool\("update"' --include='*_test.go' . | xargs -r -n 1 dirname | sort -u); do \
		echo "$(GO) test $$dir -update"; \
		MMJOURNAL_LONG=1 $(GO) test -timeout $(TIMEOUT) "$$dir" -update || exit 1; done

fmt: ## fail where gofmt would change a file
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "gofmt -w these:"; echo "$$out"; exit 1; fi

tidy: ## fail where go.mod or go.sum is not what go mod tidy writes
	@for m in . $(MODULES); do $(GO) -C $$m mod tidy -diff || exit 1; done
	$(GO) mod verify

vet: ## go vet for this machine's system
	@for m in . $(MODULES); do echo "$(GO) -C $$m vet ./..."; $(GO) -C $$m vet ./... || exit 1; done

vet-all: vet ## build and vet for the other systems and processors too
	@failed=0; for p in $(PLATFORMS) $(BUILDS); do \
		echo "$$p"; \
		export CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/}; \
		$(GO) build ./... || failed=1; \
		case " $(PLATFORMS) " in *" $$p "*) $(GO) vet ./... || failed=1;; esac; \
	done; exit $$failed

lint: ## golangci-lint, at the pinned version
	@for m in . $(MODULES); do echo "lint $$m"; \
		(cd $$m && $(GO) run $(GOLANGCI) run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

ci: ## everything that a submission has to pass
	bash .ci/run
