# The images of StockSync, one target a program: docker build --target operator .
#
# `go -C hack/cluster run . images` follows this same file where there is no container engine. It understands the
# instructions used here and refuses any other, so that both ways make the same image.
FROM golang:1.26-bookworm AS build
ARG VERSION=dev
ENV CGO_ENABLED=0
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/ ./cmd/operator ./cmd/agent ./cmd/storesim

FROM scratch AS operator
COPY --from=build /out/operator /operator
USER 65532:65532
ENTRYPOINT ["/operator"]

# The agent talks to shops on the public internet, so it carries the public certificate authorities.
FROM scratch AS agent
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/agent /agent
USER 65532:65532
ENTRYPOINT ["/agent"]

# A simulated WooCommerce store, for demos and tests.
FROM scratch AS storesim
COPY --from=build /out/storesim /storesim
USER 65532:65532
ENTRYPOINT ["/storesim"]
