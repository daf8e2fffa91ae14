ARG VERSION=1
ARG SUM=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
FROM scratch AS base
ARG VERSION
ENV HOST=files.example PATH_=/v$VERSION
ONBUILD ADD https://files.example/onbuild/$VERSION /o
FROM base
ARG SUM
ADD https://$HOST$PATH_/a.tar.gz /a
ADD http://$HOST/b ./local /b/
ADD https://git.example/r.git#main:sub /r
ADD git@git.example:team/r.git /s
ADD github.com/team/local /l
ADD --checksum=$SUM "https://files.example/sum?a=b" /c
ADD https://user:word@git.example:8443/team/../r.git#v1 /u
ADD --keep-git-dir git://git.example//deep/r.git#:sub/ /d
ADD https://git.example/pinned.git#aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:docs /p
ADD --checksum=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa https://git.example/checked.git#main /q
ADD https://files.example/here <<EOF /h/
https://files.example/not-a-source
EOF
