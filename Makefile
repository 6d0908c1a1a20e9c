# `make up` on a fresh machine (root): a cluster of three nodes with the example stack. `make help` lists the rest.
SHELL := /bin/sh
NODES ?= 3
MANAGERS ?= 3
NODE := node_modules/node/bin/node
PACKAGES := crun conmon nftables libnftables1 iproute2 iputils-ping tcpdump dnsutils curl iperf3 busybox-static conntrack jq protobuf-compiler procps util-linux tini
VM_PACKAGES := qemu-system-x86 erofs-utils mmdebstrap
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

# Installs which of the Debian packages $(1) are missing.
define apt_install
missing=; for p in $(1); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'install ok' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  [ "$$(id -u)" = 0 ] || { echo "missing:$$missing. Install them: sudo apt-get install$$missing"; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; fi
endef

.PHONY: help install build up down test vm-test check bench sim nemesis clean root

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

root:
	@[ "$$(id -u)" = 0 ] || { echo "tswarm makes namespaces, links and mounts: run it as root (sudo make $(MAKECMDGOALS))"; exit 1; }

install: node_modules/.installed ## installs what is missing (apt, npm)

node_modules/.installed: package-lock.json
	@$(call apt_install,$(PACKAGES))
	@[ ! -L node_modules ] || { echo "node_modules is a link: npm ci would empty the folder behind it. Copy that folder instead"; exit 1; }
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

build: install dist/.built ## bundles tsctl, agent and manager

# bin/tswarm-agent runs the bundle only while none of these is newer: keep its list the same.
dist/.built: $(shell find base control-plane net node-agent proto tsctl -name '*.ts' ! -name '*.test.ts') scripts/build.ts package-lock.json
	@mkdir -p dist && touch dist/.building && $(NODE) scripts/build.ts && mv dist/.building $@

up: root build ## starts NODES (3) nodes, MANAGERS (3) of them managers, and deploys the example stack
	@$(NODE) test-cluster/netns/main.ts up --nodes $(NODES) --managers $(MANAGERS)

down: root ## ends the cluster and leaves nothing behind
	@[ ! -x $(NODE) ] || $(NODE) test-cluster/netns/main.ts down

check: build ## types, style, import arrows, generated code
	@tsc
	@biome check --error-on-warnings .
	@$(NODE) scripts/check-arrows.ts
	@$(NODE) scripts/proto.ts --check

test: root check ## everything that can be tested on one machine
	@$(NODE) node_modules/mocha/bin/mocha.js

vm-test: root install ## tests containers and the kernel's networks, or FILES, in a virtual machine with cgroup v2 and Debian's kernel
	@$(call apt_install,$(VM_PACKAGES))
	@$(NODE) test-cluster/vm/main.ts mocha $(or $(FILES),$(wildcard node-agent/runtime/*.test.ts net/kernel/*.test.ts))

bench: root build ## measures, each as min, median, max
	@for b in bench/*.ts; do echo "== $$b"; $(NODE) $$b || exit 1; done

sim: install ## simulates raft clusters for SECONDS (60) each: SEEDS (1000) of them, or for MINUTES; from seed FIRST
	@$(NODE) test-cluster/sim/main.ts --seconds $(or $(SECONDS),60) $(SEEDS:%=--seeds %) $(MINUTES:%=--minutes %) $(FIRST:%=--first %)

nemesis: root build ## hurts a cluster of NODES (3) real managers for MINUTES (10) while clients write (SEED repeats a plan)
	@$(NODE) test-cluster/nemesis/main.ts --minutes $(or $(MINUTES),10) --nodes $(NODES) $(if $(SEED),--seed $(SEED))

clean: down
	rm -rf dist build node_modules
