ARG REGISTRY=reg.example:5000/
ARG NAME="base image"
ARG TAG
ARG FULL=${REGISTRY}team/app:${TAG:-1.0}
ARG UPPER=v1.2.3-rc1
FROM ${FULL} AS a
FROM ${REGISTRY%/}/x:${UPPER#v} AS b
FROM ${REGISTRY}y:${UPPER%%-*} AS c
FROM ${TAG:+never/}z:${UPPER//./_} AS d
FROM "quoted"':'tag AS e
FROM w:${UPPER/rc?/done}${NAME:+} AS f
FROM ${UNSET-fallback}:${UPPER##*-} AS g
FROM h:$TARGETARCH$TARGETVARIANT-$TARGETSTAGE AS h
