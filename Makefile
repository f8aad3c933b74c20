# make run   builds the server and starts it for development
# make test  checks and tests everything
#
# Both need Go, Node.js and make, and fetch everything else.

.PHONY: run build test lint fmt go-test plugin-check node-test clean

server := bin/durable-streams-server
gofiles = $(shell find . -name '*.go' -not -path './test/node_modules/*')
tool := go tool -modfile=tools/go.mod

run: build
	$(server) dev $(ARGS)

build:
	go build -o bin/ ./cmd/durable-streams-server

test: lint go-test plugin-check node-test

# gofumpt -l names the files that it would change, and make fails if there are any.
lint:
	@unformatted=$$($(tool) gofumpt -l $(gofiles)) && \
		if [ -n "$$unformatted" ]; then echo "run make fmt, which formats:"; echo "$$unformatted"; exit 1; fi
	go vet -tags plugin ./...
	$(tool) staticcheck -tags plugin ./...

fmt:
	$(tool) gofumpt -w $(gofiles)

go-test:
	.ci/go-test -race ./...

# Builds a Caddy with this module as xcaddy does.
plugin-check:
	.ci/go-test -tags plugin -run '^TestPlugin$$' .

# The official conformance suite and client against the server.
node-test: build
	cd test && npm ci --no-audit --no-fund
	cd test && npm run check
	cd test && npm test

clean:
	rm -rf bin test/node_modules
