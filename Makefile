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

.PHONY: test-e2e
test-e2e: ## Run the end-to-end tests on a cluster made for them; KEEP_CLUSTER=1 leaves it up.
	@hack/e2e.sh
