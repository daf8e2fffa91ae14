FROM alpine AS a
COPY --from=b x y
FROM busybox AS b
