FROM base AS build
COPY --from=files . .
RUN --mount=from=docker.io/library/alpine,target=/a true
FROM alpine:latest AS files-user
COPY --from=build a b
FROM build
COPY --from=files-user a b
COPY --from=context a b
