"""Steps that BuildKit may refuse only once their stage is built: by table, and made of awkward options and words."""

from __future__ import annotations

from hypothesis import strategies as st

TOP = 'ARG G=80\nFROM scratch\nARG G\nARG EMPTY=\nENV P=8080 M=0644 K=cache S=SIGTERM D=/d Q="a b" R=80-90\n'
"""What the steps stand below: `$UNSET` is not set, and no base image has a say."""
DIGEST = "b" * 64

REFUSED = [
    ("EXPOSE abc", "invalid containerPort: abc"),
    ("EXPOSE 80 65536", "invalid containerPort: 65536"),
    ("EXPOSE 90-80", "invalid containerPort: 90-80"),
    ("EXPOSE 80/tpc", 'invalid port: "80/tpc": invalid proto: tpc'),
    ("EXPOSE /tcp", 'invalid port: "/tcp": no port specified'),
    ("EXPOSE x:80", "invalid hostPort: x"),
    ("EXPOSE 1.2.3:80:80", "invalid IP address: 1.2.3"),
    ("EXPOSE 1-2:80-90", "invalid ranges specified for container and host Ports: 80-90 and 1-2"),
    ("EXPOSE ${P}x", "invalid containerPort: 8080x"),
    ("EXPOSE $Q", "invalid containerPort: a"),
    ("STOPSIGNAL FOO", "invalid signal: FOO"),
    ("STOPSIGNAL 0", "invalid signal: 0"),
    ("STOPSIGNAL $UNSET", "invalid signal: "),
    ("STOPSIGNAL SIGRTMIN+16", "invalid signal: SIGRTMIN+16"),
    ("COPY --chmod=9999 a /b", "invalid chmod parameter: '9999'"),
    ("ADD --chmod=10000 a /b", "invalid chmod parameter: '10000'"),
    ("COPY --chmod=0o755 a /b", "invalid chmod parameter: '0o755'"),
    ("COPY --chmod=u+q a /b", "invalid syntax"),
    ("COPY --chmod=${M}9 a /b", "invalid chmod parameter: '06449'"),
    ("ADD --checksum=bad https://e.com/f /f", "invalid checksum digest format"),
    ("ADD --checksum=md5:ab https://e.com/f /f", "unsupported digest algorithm"),
    ("ADD --checksum=sha256:ab https://e.com/f /f", "invalid checksum digest length"),
    (f"ADD --checksum=sha256:{DIGEST} a /f", "checksum requires HTTP(S) or Git sources"),
    (f"ADD --checksum=sha256:{DIGEST} https://e.com/f a /f", "checksum can't be specified for multiple sources"),
    ("COPY https://e.com/f /f", "source can't be a URL for COPY"),
    ("COPY git@e.com:a/b.git /f", "source can't be a git ref for COPY"),
    ("VOLUME /x $UNSET", "VOLUME specified can not be an empty string"),
    ("RUN --mount=type=bogus true", 'unsupported mount type "bogus"'),
    ("RUN --mount=type=cache true", 'invalid mount target "/"'),
    ("RUN --mount=target=/ true", 'invalid mount target "/"'),
    ("RUN --mount=type=tmpfs,target=.. true", 'invalid mount target "/"'),
    ("RUN --mount=typ=cache,target=/x true", "unexpected key 'typ' in 'typ=cache'"),
    ("RUN --mount=type=cache,/x true", "invalid field '/x' must be a key=value pair"),
    ("RUN --mount=type=cache,target=/x,sharing=all true", 'unsupported sharing value "all"'),
    ("RUN --mount=target=/x,sharing=locked true", "invalid cache sharing set for bind mount"),
    ("RUN --mount=target=/x,uid=0 true", 'uid not allowed for "bind" type mounts'),
    ("RUN --mount=type=cache,target=/x,uid=root true", "invalid value root for uid"),
    ("RUN --mount=type=cache,target=/x,mode=0888 true", "invalid value 0888 for mode"),
    ("RUN --mount=type=cache,target=/x,ro=yes true", "invalid value for ro: yes"),
    ("RUN --mount=type=tmpfs,target=/x,size=many true", "invalid value for size: many"),
    ("RUN --mount=target=/x,size=1 true", "unexpected key 'size' for mount type 'bind'"),
    ("RUN --mount=required,type=secret,id=x true", "unexpected key 'required' for mount type 'bind'"),
    ("RUN --mount=type=secret true", "invalid secret mount. one of source, target required"),
    ("RUN --mount=type=secret,id=x,source=y true", "both source and id can't be set"),
    ("RUN --mount=type=secret,id=x,from=scratch true", "secret mount should not have a from"),
    ("RUN --mount=type=ssh,source=x true", "ssh does not support source"),
    ("RUN --mount=type=${K}x,target=/x true", 'unsupported mount type "cachex"'),
    ("ENV A=${P:-", "failed to process \"${P:-\": syntax error: missing '}'"),
    ("ENV A=${P:0:2}", 'failed to process "${P:0:2}": unsupported modifier (:0) in substitution'),
    ("ARG A=${}", 'failed to process "${}": syntax error: bad substitution'),
    ("WORKDIR /${P!}", 'failed to process "/${P!}": unsupported modifier (!) in substitution'),
    ("USER ${P/x}", "failed to process \"${P/x}\": syntax error: missing '/' in ${}"),
    (
        "LABEL a=it's",
        'failed to process "it\'s": unexpected end of statement while looking for matching single-quote',
    ),
    ("VOLUME ${P:?}${EMPTY:?say}", 'failed to process "${P:?}${EMPTY:?say}": EMPTY: say'),
    ("COPY a ${UNSET?}", 'failed to process "${UNSET?}": UNSET: is not allowed to be unset'),
    ("COPY <<E /x\nit's ${P:y}\nE", 'failed to process "it\'s ${P:y}\\n": unsupported modifier (:y) in substitution'),
]
"""A step, and why BuildKit refuses it."""

TAKEN = [
    "EXPOSE 80 443/tcp 8000-8010/UDP 1.2.3.4:80:80 80:443 [::1]:1-2:80 $P $R/sctp +80 80/",
    "STOPSIGNAL 9",
    "STOPSIGNAL -1",
    "STOPSIGNAL sigrtmin+15",
    "STOPSIGNAL $S",
    "COPY --chmod=00007777 a /b",
    "COPY --chmod=u=rwx,go=rx+X a /b",
    "COPY --chmod=$M a /b",
    "COPY --chmod=$UNSET a /b",
    f"ADD --checksum=sha256:{DIGEST} https://e.com/f /f",
    "ADD --checksum=bad https://e.com/r.git /f",
    "ADD --checksum=$EMPTY a /f",
    "COPY a.b@c:d HTTPS://e.com/f https:/x ssh:x /f/",
    "COPY u@h:p?a=%zz /f",
    "RUN --mount=type=cache,target=/x,ID=a,sharing=LOCKED,mode=0777,uid=1,gid=2,from=scratch,source=/y,ro true",
    "RUN --mount=type=tmpfs,target=/x,size=1.5GiB true",
    "RUN --mount=type=tmpfs,target=//,size=1e3 true",
    "RUN --mount=type=secret,id=x,required,env=A --mount=type=ssh,required=1 true",
    "RUN --mount=type=$K,target=$D true",
    "RUN --mount=target=x,readwrite=f true",
    "WORKDIR /w\nRUN --mount=type=cache true",
    "WORKDIR $D\nRUN --mount=type=cache,target=x/.. true",
    "ENV A='${' B=\\${ C=${P:+x}${UNSET:-y}${Q%b}${Q/a/b}${Q//a/b}",
    "COPY <<'E' /x\n${\nE",
    "COPY <<E /x\n'\"\\${ $P\nE",
    "RUN <<E\n${\nE",
    "RUN echo ${X:0:2} '",
    'CMD ["${"]',
    "HEALTHCHECK CMD ${",
    "ONBUILD EXPOSE abc",
]
"""Steps that BuildKit takes."""


def _among(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(text.split("|"))


def _joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map("".join)


_MODIFIED = _joined(
    _among("${|${|${|$|${$|${{"),
    _among("P|EMPTY|UNSET|Q|G|PATH|1||K|é"),
    _among("|:-|-|:+|+|:?|?|#|%|##|/|//|:|:x|!|@|^|:0:2|//x/|/8/9"),
    _among('||a|80|*|$P|${G}|${|\'|"|"b"'),
    _among("}|}|}|}|| |}}"),
)
_PIECE = _among("a|80|/|'|\"|\\|`|$|$P|${P}|$UNSET|$EMPTY|\"$P\"|'$P'|\\$|<|-|é")
WORD = st.lists(st.one_of(_PIECE, _PIECE, _MODIFIED), min_size=1, max_size=4).map("".join)

_NUMBER = _among("80|0|65535|65536|-1|+80|8_0|080|1e3|abc||$P|$G|$EMPTY|90|99999999999999999999|٣")
_RANGE = st.one_of(_NUMBER, _joined(_NUMBER, _among("-|-|--|-+"), _NUMBER), st.just("$R"))
_PROTOCOL = _among("||/tcp|/UDP|/sctp|/|/icmp|/tcp/x|/tpc|/$K")
_ADDRESS = _among("|1.2.3.4|01.2.3.4|1.2.3|[::1]|::1|[::1|[]|fe80::1%eth0|[::1]x|::ffff:1.2.3.4|host")
_COLON = st.just(":")
_PORT = st.one_of(
    _joined(_RANGE, _PROTOCOL),
    _joined(_RANGE, _COLON, _RANGE, _PROTOCOL),
    _joined(_ADDRESS, _COLON, _RANGE, _COLON, _RANGE, _PROTOCOL),
)
EXPOSE = st.lists(st.one_of(_PORT, _PORT, _PORT, WORD), min_size=1, max_size=3).map(" ".join).map("EXPOSE {}".format)

STOPSIGNAL = st.one_of(
    _among("SIGTERM|term|SigKill|9|0|-1|+2|00|999|99999999999999999999|FOO|SIGSIGTERM|SIG|SIGEMT|SIGINFO|SIGPOLL"),
    _among("RTMIN|RTMIN+1|RTMIN+15|RTMIN+16|RTMAX-14|RTMAX-15|SIGRTMAX-1|RTMIN-1|$S|$EMPTY|'9'|SIGUNUSED|SIGCLD"),
    _among("IOT|STKFLT|1_0|0x9|SIGTREM| 9|ſIGTERM"),
    WORD,
).map("STOPSIGNAL {}".format)

_MODE = st.one_of(
    _among("755|0755|07777|7777|10000|00000755|9999|0o755|8|-1|+644|777777777777|$M|$EMPTY|7'5'5|é"),
    _among("u=rwx,go=rx|u+x|a+X|=|u|u+x,|,u+x|go-w+x|u=g|rwx|u+q|+t|+|a=rwx,u+s"),
    st.lists(st.text("augo+-=rwxXst", max_size=6), min_size=1, max_size=3).map(",".join).filter(bool),
)
_SOURCE = st.one_of(
    _among("a|./a|a/b|$D/x|*.txt|a?b|a@b|user@host:path|us.er@host:path|u@h:p?x=y|u@h:p?x=%zz|github.com/a/b|C:x|$D"),
    _among("https://e.com/f|http://e.com/f|https://e.com/r.git|git://e.com/r|ssh://g@e.com/r|HTTPS://e.com/f"),
    _among("ssh://e.com:port/r|ftp://e.com/f|https://e.com/r%2egit|HTTP://e.com/r.git|https://e.com/r.git#v1:sub"),
    _among("git@e.com:r.git|https:/e.com|://x|http://|https://[::1]/f|https://e .com/f|git+ssh://e.com/r"),
)
_CHECKSUM = st.one_of(
    _among(f"sha256:{DIGEST}|bad|sha256:|:abc|sha256:{DIGEST[1:]}|sha256:{DIGEST.upper()}|md5:{DIGEST[:32]}"),
    _among(f"sha512:{DIGEST}|sha384:{DIGEST}|a:c|SHA256:x|$EMPTY|${{D}}|{'d' * 40}|${{UNSET:-sha256:{DIGEST}}}"),
)


def _flags(name: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The flag, or mostly none."""
    return st.one_of(st.just(""), st.just(""), values.map(lambda value: f" --{name}={value}"))


_SOURCES = st.lists(st.one_of(_SOURCE, _SOURCE, _SOURCE, WORD), min_size=1, max_size=2).map(" ".join)
_TARGET = _among(" /x| /x| x/| .| $D| ${D|")
_COPIED = (st.just(" "), _SOURCES, _TARGET)
COPY = _joined(st.just("COPY"), _flags("chmod", _MODE), _flags("chown", WORD), *_COPIED)
ADD = _joined(st.just("ADD"), _flags("chmod", _MODE), _flags("checksum", _CHECKSUM), *_COPIED)

_TEXT = st.lists(st.one_of(_PIECE, _MODIFIED, st.just("\n")), max_size=4).map("".join)
_HEREDOC = _among(
    " <<E /x\n{}\nE| <<-E /x\n{}\n\tE| <<'E' /x\n{}\nE| <<\"E\" /x\n{}\nE| 3<<E /x\n{}\nE| <<\\E /x\n{}\nE"
)
HEREDOC = _joined(_among("COPY|ADD|RUN"), st.tuples(_HEREDOC, _TEXT).map(lambda both: both[0].replace("{}", both[1])))

_NUMBERS = _among("0|755|0888|-1|4294967295|4294967296|0000000000000001|root||$P|+1|37777777777|40000000000")
_OPTION = st.one_of(
    _joined(_among("type=|TYPE="), _among("bind|cache|CACHE|tmpfs|secret|ssh|bogus|$K||cach")),
    _joined(_among("target=|dst=|destination="), _among("/x|/|x||.|..|//|/x/..|$D|${UNSET:-/}|$EMPTY")),
    _joined(_among("source=|src="), _among("a|/||$D|..|$EMPTY")),
    _joined(_among("ro|readonly|rw|readwrite|required|RO"), _among("||=true|=1|=yes|=|=$EMPTY|=False")),
    _joined(
        st.just("size="), _among("1|64m|1.5GiB|1kb|x|-1|-0||1e3|0x10|inf|1.2.3|5q|1mib2|1_0|1gibi|$P|\"1 g\"|'1  g'")
    ),
    _joined(_among("id=|from=|env="), _among("|a|scratch|$D|a$")),
    _joined(st.just("sharing="), _among("shared|LOCKED|private|share||$EMPTY")),
    _joined(_among("mode=|uid=|gid="), _NUMBERS),
    _among('|typ=cache|bogus|bogus=1|target|KIND=x|"target=/a|"target=/a,b"|=|=x|Target=/x'),
)
_TYPED = st.tuples(
    _among("type=bind|type=cache|type=tmpfs|type=secret|type=ssh|required"),
    _among(",target=/x|,target=/x,id=a|,id=a,type=secret"),
    st.lists(_OPTION, max_size=2),
).map(lambda parts: ",".join([parts[0] + parts[1], *parts[2]]))
_MOUNT = st.one_of(st.lists(_OPTION, min_size=1, max_size=4).map(",".join), _TYPED, _TYPED)
RUN = st.lists(_MOUNT, min_size=1, max_size=2).map(
    lambda mounts: f"RUN {' '.join(f'--mount={each}' for each in mounts)} true"
)

WORDS = _joined(
    _among("USER |WORKDIR |ENV N=|ENV N |ARG N=|LABEL N=|LABEL x |VOLUME |VOLUME /a |RUN echo |CMD |MAINTAINER "), WORD
)
NAMED = _joined(_among("LABEL |ENV "), WORD, st.just("="), WORD)
_FOLDER = _among("|||WORKDIR /\n|WORKDIR x\n|WORKDIR $D\n|WORKDIR ..\n|WORKDIR /x/..\n|WORKDIR $EMPTY\n|ENV P\n")


def steps() -> st.SearchStrategy[str]:
    """One or two steps, each of which may be right or wrong."""
    step = st.one_of(EXPOSE, STOPSIGNAL, COPY, ADD, RUN, RUN, WORDS, WORDS, NAMED, HEREDOC)
    more = st.one_of(st.just(""), st.just(""), st.just(""), step.map(lambda text: f"\n{text}"))
    return _joined(_FOLDER, step, more)
