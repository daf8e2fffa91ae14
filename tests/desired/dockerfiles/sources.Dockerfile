FROM scratch AS zero
FROM alpine AS one
COPY --from=0 a b
FROM debian AS two
RUN --mount=from=one,target=/x --mount=type=bind,from=python:3.12,source=/usr,target=/y true
RUN --mount=from=0,target=/zero true
COPY --from=ONE a b
FROM unused:1 AS unused
COPY --from=never a b
FROM two
COPY --link --chown=1:1 --from=reg.example/tool@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa a b
