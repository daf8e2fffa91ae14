FROM alpine AS a
RUN <<EOF
FROM not-an-image AS hidden
COPY --from=also-not a b
EOF
COPY <<-"ONE" <<TWO /etc/
	FROM nothing
	ONE
# not a comment
FROM nothing:2
TWO
RUN ["echo", "<<EOF"]
RUN cat << 'EOF' && echo done
ONBUILD COPY --from=hidden a b
EOF
FROM busybox
COPY --from=a /etc /etc
