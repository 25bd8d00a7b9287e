# "make help" lists the targets.
GO             ?= go
NFPM           ?= github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.0
GOLANGCI_LINT  ?= github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK    ?= golang.org/x/vuln/cmd/govulncheck@v1.9.0
VERSION        ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
FUZZTIME       ?= 30s
FUZZ           ?= ./...
BENCHTIME      ?= 1s
LDFLAGS        := -s -w -X main.version=$(VERSION)

.PHONY: help build run test e2e faults conformance conformance-load vet lint vuln fuzz mutate mutate-ci delays bench milterload bench-peers dist soak soak-store clean

help: ## this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## bin/sekimori
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sekimori ./cmd/sekimori

run: build ## the daemon on an embedded zone, with a dozen messages and their verdicts
	bin/sekimori demo

# A C compiler links the race detector.
NEED_CC = @cc=$$($(GO) env CC); command -v "$${cc%% *}" >/dev/null || { echo "make $@: -race needs a C compiler, and there is no $$cc: apt-get install gcc libc6-dev" >&2; exit 1; }

test: ## every test, with the race detector (gcc)
	$(NEED_CC)
	$(GO) test -race -shuffle=on -timeout 20m ./...

e2e: ## only the tests through a real Postfix and Sendmail
	$(NEED_CC)
	$(GO) test -race -count=1 -v ./internal/e2e

faults: ## injects every fault of internal/faults/matrix.txt (root and Postfix for some)
	$(NEED_CC)
	@awk -F': ' '!/^#/ && NF { n = split($$2, t, " "); for (i = 1; i <= n; i++) if (split(t[i], p, ".") == 2) s[p[1]] = s[p[1]] "|" p[2] } \
	  END { for (k in s) print k, substr(s[k], 2) }' internal/faults/matrix.txt | sort | while read -r pkg tests; do \
	  $(GO) test -race -count=1 -run "^(TestMatrix|$$tests)\$$" ./internal/$$pkg || exit 1; \
	done

conformance: ## every published suite, in process and through the daemon: passed / total (excluded: why)
	@log=$$(mktemp) && trap 'rm -f "$$log"' EXIT; \
	$(GO) test -count=1 -v -run Conformance ./internal/... >"$$log" 2>&1; status=$$?; \
	sed -nE 's/^ +[a-z0-9_]+_test\.go:[0-9]+: (suites? )/\1/p' "$$log" | sort -u; \
	[ $$status -eq 0 ] || { grep -vE '^(=== |ok |\?|PASS|testing:)|--- (PASS|SKIP)|: suites? ' "$$log"; exit $$status; }

conformance-load: ## DMARC's suite 504 times, in six processes at once: under load too, no verdict may be a neighbour's
	$(GO) test -c -o bin/conformance.test ./internal/conformance
	cd internal/conformance && for i in 1 2 3 4 5 6; do ../../bin/conformance.test -test.run 'TestConformanceDMARC$$' -test.count=84 -test.timeout 30m & pids="$$pids $$!"; done; \
	  for pid in $$pids; do wait $$pid || bad=1; done; [ -z "$$bad" ]

vet: ## go vet, for this system and for FreeBSD
	$(GO) vet ./...
	GOOS=freebsd $(GO) vet ./...

lint: vet ## gofmt, go vet and golangci-lint
	@test -z "$$(gofmt -l cmd internal configs deploy)" || { gofmt -l cmd internal configs deploy; exit 1; }
	$(GO) run $(GOLANGCI_LINT) run ./...

vuln: ## known vulnerabilities in the code that the programs call (asks vuln.go.dev)
	$(GO) run $(GOVULNCHECK) ./cmd/...

fuzz: ## every fuzz target for FUZZTIME (30s): executions and new coverage; FUZZ=./internal/spf (all)
	@log=$$(mktemp) && trap 'rm -f "$$log"' EXIT; \
	pkgs=$$($(GO) list $(FUZZ)) || exit 1; \
	for pkg in $$pkgs; do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    $(GO) test -run='^$$' -fuzz="^$$target$$" -fuzztime=$(FUZZTIME) -fuzzminimizetime=1x $$pkg >"$$log" 2>&1 || { echo "$$pkg $$target"; cat "$$log"; exit 1; }; \
	    sed -nE "s|^fuzz: elapsed: .*execs: ([0-9]+) .*new interesting: ([0-9]+) .total: ([0-9]+).*|$$pkg $$target: \1 executions, \2 inputs that reached new code (\3 in all)|p" "$$log" | tail -n 1; \
	  done; \
	done

PKG            ?= ./...
MUTATE         ?=
mutate: ## changes of the code that no test of the package notices; PKG='spf dkim' (all), MUTATE='--seed 2 --at spf/record.go:104'
	$(GO) run ./internal/testkit/mutate --known internal/testkit/mutate/known.txt $(MUTATE) $(if $(findstring --at,$(MUTATE)),,$(PKG))

# The packages that decide what becomes of a message. The same mutants are chosen until the code that they change changes.
MUTATE_CI      ?= policy judge consent bimi report report/compose
mutate-ci: ## the mutants that CI runs; fails if one survives that known.txt does not explain
	$(GO) run ./internal/testkit/mutate --known internal/testkit/mutate/known.txt --seed 4 --n 8 --ops verdict --strict $(MUTATE_CI)

DELAY          ?= 5ms
delays: ## the tests of PKG (all) with goroutines that begin up to DELAY (5ms) late: which of them count on quick ones; MUTATE='--at spf/x.go:3 --run TestX'
	$(GO) run ./internal/testkit/mutate --delay $(DELAY) $(MUTATE) $(if $(findstring --at,$(MUTATE)),,$(PKG))

bench: ## benchmarks with allocations, to compare by benchstat
	$(GO) test -run='^$$' -bench=. -benchmem -benchtime=$(BENCHTIME) $(BENCHFLAGS) ./...

milterload: ## bin/milterload, the load tool
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/milterload ./cmd/milterload

PEERS          ?=
bench-peers: ## sekimori beside opendkim+opendmarc, rspamd and the floor, as a table; PEERS='-cases warm,rate* -rounds 3' (root; apt-get install opendkim opendmarc rspamd postfix)
	$(GO) run ./internal/bench/peers $(PEERS)

# A version that dpkg and rpm can compare: the tag, or else 0.9~ and the commit's time.
PACKAGE_VERSION ?= $(or $(patsubst v%,%,$(shell git describe --tags --exact-match --match 'v[0-9]*' 2>/dev/null)),0.9~$(shell TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d%H%M%S 2>/dev/null))
ARCHES         ?= amd64 arm64
DIST           ?= dist
DISTBUILD      := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(PACKAGE_VERSION)'
dist: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
dist: ## deb, rpm, programs, bills of materials and checksums in DIST (dist); two builds give the same octets
	@git log -1 >/dev/null 2>&1 || { echo "make dist: the version and the time of the package come from git: use a clone, and apt-get install git" >&2; exit 1; }
	rm -rf $(DIST) && mkdir -p $(DIST)/parts
	$(DISTBUILD) -o $(DIST)/parts/host ./cmd/sekimori
	for s in 1 5 8; do mkdir -p $(DIST)/parts/man$$s && for f in deploy/man/*.$$s; do gzip -9nc "$$f" >"$(DIST)/parts/man$$s/$${f##*/}.gz"; done; done
	mkdir -p $(DIST)/parts/doc/deploy/docs && for f in README.md deploy/README.md deploy/docs/*.md; do sed -E -f deploy/packages/links.sed "$$f" >"$(DIST)/parts/doc/$$f"; done && cp -r deploy/docs/ja $(DIST)/parts/doc/deploy/docs/
	printf 'sekimori (%s-1) unstable; urgency=medium\n\n  * See /usr/share/doc/sekimori/changelog.md.\n\n -- sekimori packagers <postmaster@localhost>  %s\n' \
	  '$(PACKAGE_VERSION)' "$$(LC_ALL=C date -u -d @$$SOURCE_DATE_EPOCH '+%a, %d %b %Y %H:%M:%S +0000')" | gzip -9n >$(DIST)/parts/changelog.Debian.gz
	for shell in bash fish zsh; do $(DIST)/parts/host completion $$shell >$(DIST)/parts/completion.$$shell; done
	set -e; for arch in $(ARCHES); do \
	  GOARCH=$$arch $(DISTBUILD) -o $(DIST)/sekimori-$$arch ./cmd/sekimori; \
	  $(GO) run ./internal/dist/sbom $(DIST)/sekimori-$$arch $(PACKAGE_VERSION) >$(DIST)/sekimori-$$arch.cdx.json; \
	  sed -e 's|@ARCH@|'$$arch'|g; s|@DIST@|$(DIST)|g; s|@VERSION@|$(PACKAGE_VERSION)|' \
	    -e "s|@TIME@|$$(date -u -d @$$SOURCE_DATE_EPOCH +%Y-%m-%dT%H:%M:%SZ)|" deploy/packages/nfpm.yaml >$(DIST)/parts/nfpm.yaml; \
	  for kind in deb rpm; do $(GO) run $(NFPM) package -f $(DIST)/parts/nfpm.yaml -p $$kind -t $(DIST)/; done; done
	rm -r $(DIST)/parts && cd $(DIST) && sha256sum * >SHA256SUMS

SOAKTIME       ?= 10m
soak: build milterload ## SOAKTIME (10m) of load with a DNS server that forges, delays, truncates, floods and closes
	@dir=$$(mktemp -d); pid=; trap 'kill $$pid; rm -rf "$$dir"' EXIT; \
	printf 'mode: enforce\nlisten: ["unix:%s/milter.sock"]\nauthserv_id: mx.load.example\ndns: {servers: ["127.0.0.1:15390"], cache: {size: 16MiB}}\nadmin: {listen: "127.0.0.1:18990"}\n' "$$dir" >"$$dir/sekimori.yaml"; \
	bin/sekimori serve --config "$$dir/sekimori.yaml" >"$$dir/log" 2>&1 & pid=$$!; \
	until [ -S "$$dir/milter.sock" ]; do kill -0 $$pid || { cat "$$dir/log"; exit 1; }; sleep 0.1; done; \
	bin/milterload --milter "unix:$$dir/milter.sock" --dns 127.0.0.1:15390 --dns-delay 5ms --dns-ttl 10s --corpus 5000 --domains 2000 \
	  --dns-faults none=90,servfail=1,refused=1,silent=1,truncate=2,close=1,garbage=1,wrongid=1,wrongquestion=1,flood=1 \
	  --connections 64 --pid $$pid --duration $(SOAKTIME) --check safe --watch http://127.0.0.1:18990/metrics

soak-store: ## SOAKTIME (10m) of messages while the store is killed each minute, SQLite (with its daemon) and PostgreSQL; the sums must be exact
	$(GO) test ./internal/faults -count=1 -v -timeout 2h -run '^TestSoak' -soak $(SOAKTIME)

clean: ## remove what was built
	rm -rf bin dist
