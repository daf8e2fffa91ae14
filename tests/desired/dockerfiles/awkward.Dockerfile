# syntax=docker/dockerfile:1
# escape=`
ARG REG=reg.example:5000
ARG BASE="${REG}/team/base:${TAG:-1}"
ARG VARIANT=${TARGETARCH:+-$TARGETARCH}
FROM ${BASE}${VARIANT} AS base
ONBUILD ARG X=1
ONBUILD RUN --mount=type=bind,from=onbuild-mount:1,target=/x `
    true
ONBUILD COPY --from=later /a /a
FROM scratch AS later
COPY <<"FILE" <<-'OTHER' /etc/
FROM $REG/never:1
FILE
	COPY --from=never /a /a
	OTHER
RUN <<EOF cat
# syntax=never
EOF
FROM base AS child
RUN echo C:\Windows\ && echo "`$REG" `
    # a comment between
    && true
FROM --platform=${BUILDPLATFORM:-linux/amd64} ${REG:+reg.example}/tools:${TAG-2} AS tools
FROM child
COPY --from=tools /t /t
COPY --from=unreached:1 /u /u
