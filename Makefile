# `make help` lists what can be made.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The command that runs the test cluster, a module of its own.
RUN_CLUSTER := go -C hack/cluster run .

##@ Help

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*##"} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-zA-Z0-9_-]+:.*##/ {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Demo

.PHONY: demo
demo: ## Show it all: a cluster, three simulated shops, two sales at once. Debian or similar, root, Go; or Docker and kind.
	@$(RUN_CLUSTER) demo

##@ Test cluster

.PHONY: envtest-assets
envtest-assets: ## Build etcd, kube-apiserver and kubectl once (about 5 min) and print their folder, for KUBEBUILDER_ASSETS.
	@$(RUN_CLUSTER) envtest-assets

.PHONY: cluster-up
cluster-up: ## Start a real Kubernetes: on this machine (Debian, root), in kind, or CLUSTER=existing with KUBECONFIG.
	@$(RUN_CLUSTER) up

.PHONY: cluster-down
cluster-down: ## Stop it and remove what it made.
	@$(RUN_CLUSTER) down

.PHONY: cluster-load
cluster-load: ## Make the images of this checkout and load them into the cluster.
	@$(RUN_CLUSTER) load

##@ Test

.PHONY: test
test: ## Run all tests: unit, property, simulation, API server and, where a cluster can be run, end to end.
	@hack/test.sh

.PHONY: test-monitoring
test-monitoring: ## Evaluate alert rules and dashboard with Prometheus' engine; SCRAPES=FOLDER on scrapes of your own, agent*.prom and operator*.prom.
	KUBEBUILDER_ASSETS=$${KUBEBUILDER_ASSETS:-$$($(RUN_CLUSTER) envtest-assets)} STOCKSYNC_SCRAPES=$(abspath $(SCRAPES)) go -C hack/monitoring test -count=1 ./...

.PHONY: soak
soak: ## Run 10,000 seeds of the simulation, or SEEDS=100000, on all cores, and print what they met; FROM=500 leaves out the first 499 of each story.
	go test -c -o bin/engine.test ./internal/engine
	cd internal/engine && GOGC=400 ../../bin/engine.test -test.run '^TestSimulation$$' -test.v -test.timeout 24h -seeds $(or $(SEEDS),10000) -from $(or $(FROM),1)

.PHONY: fuzz
fuzz: ## Run every fuzz target for 10 s, or FUZZTIME=5m.
	@hack/fuzz.sh

.PHONY: test-e2e
test-e2e: ## Run the end-to-end tests on a cluster made for them; KEEP_CLUSTER=1 leaves it up.
	@hack/e2e.sh

##@ Code

# golangci-lint is built from its module, outside the checkout so that every checkout shares it.
LINT := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/stocksync/lint

.PHONY: lint
lint: $(LINT) ## Check the code against .golangci.yml and the API against .golangci-kal.yml.
	$(LINT) run --timeout 30m
	$(LINT) run --timeout 30m --config .golangci-kal.yml ./api/...
	cd hack/cluster && $(LINT) run --timeout 30m --config ../../.golangci.yml
	cd hack/monitoring && $(LINT) run --timeout 30m --config ../../.golangci.yml
	cd hack/tools && $(LINT) run --timeout 30m --config ../../.golangci.yml

.PHONY: lint-fix
lint-fix: $(LINT) ## Mend what golangci-lint can mend by itself.
	$(LINT) run --timeout 30m --fix

.PHONY: $(LINT)
$(LINT):
	go -C hack/tools build -trimpath -ldflags "-s -w" -o $@ ./lint

# Every module of this repository.
MODULES := . hack/cluster hack/monitoring hack/tools

.PHONY: tidy
tidy: ## Make go.mod and go.sum of every module fit the code.
	# -e: modules that only tests of dependencies import may not be served any more.
	for module in $(MODULES); do go -C $$module mod tidy -e; done

##@ Performance

.PHONY: bench
bench: ## Measure agent and operator and print a table (about 20 min); BENCH=Hint limits it, COUNT=1 repeats it less.
	@hack/bench.sh

##@ Build

# What the images are called; pass others with `make docker-build deploy OPERATOR_IMAGE=... AGENT_IMAGE=...`.
OPERATOR_IMAGE ?= stocksync.dev/operator:dev
AGENT_IMAGE ?= stocksync.dev/agent:dev

.PHONY: generate
generate: manifests ## Make the generated Go code, docs/api.md, docs/codes.md and docs/metrics.md anew.
	go tool controller-gen object applyconfiguration paths=./api/...
	go run ./hack/apidocs config/crd/bases api/v1alpha1/conditions.go >docs/api.md.new && mv docs/api.md.new docs/api.md
	go run ./hack/codes >docs/codes.md.new && mv docs/codes.md.new docs/codes.md
	go run ./hack/metrics >docs/metrics.md.new && mv docs/metrics.md.new docs/metrics.md

.PHONY: manifests
manifests: ## Make the CRDs and the operator's role anew.
	go tool controller-gen crd paths=./api/... output:crd:dir=config/crd/bases
	go tool controller-gen rbac:roleName=stocksync-operator paths=./controllers/... output:rbac:dir=config/rbac

.PHONY: verify
verify: generate ## Fail if a generated file is not what its source makes of it, or a go.mod does not fit its code.
	git diff --exit-code -- api config docs
	@new=$$(git ls-files --others --exclude-standard -- api config docs); \
		[[ -z $$new ]] || { echo "generated, but not committed: $$new"; exit 1; }
	@for module in $(MODULES); do \
		! go -C $$module mod tidy -e -diff 2>/dev/null | grep -A 1000 '^diff current/go.mod' \
			|| { echo "$$module/go.mod must be as \`make tidy\` leaves it"; exit 1; }; \
	done

.PHONY: plugin
plugin: ## Build bin/kubectl-stocksync, the kubectl plugin, and the link by which kubectl completes its words.
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/kubectl-stocksync ./cmd/kubectl-stocksync
	ln -sf kubectl-stocksync bin/kubectl_complete-stocksync

.PHONY: docker-build
docker-build: ## Build the images of operator and agent.
	docker build --target operator -t $(OPERATOR_IMAGE) .
	docker build --target agent -t $(AGENT_IMAGE) .

##@ Install

.PHONY: install
install: ## Install the CRDs into the cluster of the current context.
	kubectl apply --server-side -k config/crd

.PHONY: deploy
deploy: ## Install the operator, with OPERATOR_IMAGE and AGENT_IMAGE.
	kubectl kustomize config/default \
		| sed -e 's|stocksync.dev/operator:dev|$(OPERATOR_IMAGE)|' -e 's|stocksync.dev/agent:dev|$(AGENT_IMAGE)|' \
		| kubectl apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove the operator, the CRDs and with them every topology; ledgers stay.
	kubectl delete --ignore-not-found -k config/default

.PHONY: run
run: install ## Run the operator here, against the cluster of the current context, on a machine that reaches its Services.
	go run ./cmd/operator --agent-image=$(AGENT_IMAGE) --agent-dial=ServiceIP
