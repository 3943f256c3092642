# Candado's tasks. `make` lists them.

GO         ?= go
FUZZTIME   ?= 20s
CHAOS      ?= 5m
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
REVISION   ?= $(shell git rev-parse HEAD 2>/dev/null)
DOCKER     ?= docker
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0

.DEFAULT_GOAL := help
.PHONY: help run test chaos lint fuzz build image bench bench-quick bench-handoff setup

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F'\t' '{ printf "  make %-13s %s\n", $$1, $$2 }'

run: build ## Run candado; its flags in ARGS='--log-level debug'
	bin/candado $(ARGS)

setup: ## Install what the tests need and is missing
	.ci/setup

test: setup ## Run every test with the race detector (sets up what is missing first)
	$(GO) test -race -shuffle=on -timeout 10m ./...
	$(GO) test -C bench -race -shuffle=on -timeout 1m ./...
	$(GO) test -C deploy -race -shuffle=on -timeout 3m -count=1 ./...
	$(GO) test -C deploy/validate -race -vet=off -shuffle=on -timeout 5m -count=1 ./... # lint vets it: here that would go through all of Kubernetes first

chaos: setup ## Check histories of clients while servers fail, for CHAOS (5m), from SEED on
	CHAOS=$(CHAOS) SEED=$(SEED) $(GO) test -race -count=1 -v -timeout 0 -run '^TestChaos$$' ./cmd/candado

lint: ## Check formatting, vet, staticcheck, go.mod, known vulnerabilities, shell scripts
	STATICCHECK=$(STATICCHECK) GOVULNCHECK=$(GOVULNCHECK) GO=$(GO) .ci/lint

fuzz: ## Run each fuzz target for FUZZTIME (20s)
	FUZZTIME=$(FUZZTIME) GO=$(GO) .ci/fuzz

build: ## Build the static binary bin/candado
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/candado ./cmd/candado

image: ## Build the image candado with DOCKER (docker; or 'buildah', 'podman')
	$(DOCKER) build $(if $(filter docker,$(DOCKER)),,--format docker) --file deploy/Dockerfile --tag candado --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) .

bench: bin/bench ## Measure all, report in bench/results (ARGS='-sections pairs'; REFERENCE=1: in bench/reference)
	bin/bench $(if $(REFERENCE),-out bench/reference) $(ARGS)

bench-quick: bin/bench ## The same within two minutes: whether all works, and roughly how fast
	bin/bench -quick $(ARGS)

bench-handoff: bin/bench ## Measure only how one hot lock is handed on (ARGS='-workers 64 -hold 5ms')
	bin/bench -sections handoff $(ARGS)

.PHONY: bin/bench
bin/bench:
	$(GO) build -C bench -o ../bin/bench ./run
