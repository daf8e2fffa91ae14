FROM alpine AS base
ONBUILD COPY --from=tools /t /t
ONBUILD RUN --mount=from=python:3,target=/p true
FROM toolbox AS tools
FROM base AS app
FROM scratch AS other
COPY --from=app / /
FROM app AS last
