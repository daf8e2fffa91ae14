"""A machine that is reached by SSH, as settings name it: where, as whom, and the key by which it is known."""

from __future__ import annotations

import re
from dataclasses import dataclass

PORT = 22

_HOST = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(?::(?P<port>[0-9]{1,5}))?"
    r"(?: (?P<key>[a-z0-9@.-]+ [A-Za-z0-9+/]+=*))?"
)


@dataclass(frozen=True, slots=True)
class Host:
    """`key` is its public host key as known_hosts has it, `TYPE BASE64`; without one it is not spoken to."""

    name: str
    port: int = PORT
    user: str | None = None
    key: str | None = None

    @classmethod
    def parse(cls, text: str) -> Host:
        """`[user@]host[:port] [TYPE BASE64]`. Raises ValueError."""
        match = _HOST.fullmatch(text)
        port = int(match["port"] or PORT) if match else 0
        if match is None or not 0 < port < 1 << 16:
            raise ValueError(f"{text!r} is not a host such as ci@build1.example.org:22 ssh-ed25519 AAAA…")
        return cls(match["name"].strip("[]"), port, match["user"], match["key"])

    def __str__(self) -> str:
        """Where it is, without its key."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self.user}@" * bool(self.user) + name + f":{self.port}" * (self.port != PORT)
