# syntax=docker/dockerfile:1.7
ARG GO=1.22
ARG ALPINE=alpine:3.20
FROM --platform=$BUILDPLATFORM golang:${GO} AS build
ARG TARGETOS TARGETARCH
RUN --mount=type=cache,target=/cache GOOS=$TARGETOS GOARCH=$TARGETARCH go build -o /app .
FROM ${ALPINE} AS final-amd64
FROM arm64v8/${ALPINE} AS final-arm64
FROM final-${TARGETARCH} AS final
COPY --from=build /app /app
COPY --from=ghcr.io/astral-sh/uv:0.5 /uv /uv
