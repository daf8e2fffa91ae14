ARG VERSION=1
FROM scratch AS base
ARG VERSION
ENV HOST=files.example PATH_=/v$VERSION
FROM base
ADD https://$HOST$PATH_/a.tar.gz /a
ADD http://$HOST/b ./local /b/
ADD https://git.example/r.git#main:sub /r
ADD git@git.example:team/r.git /s
ADD github.com/team/local /l
