FROM alpine AS alpine
FROM alpine AS ALPINE
FROM Alpine
