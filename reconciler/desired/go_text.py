"""Text as BuildKit's Go code reads it: what is a blank, and how long a line and a file may be."""

from __future__ import annotations

GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
"""What Go's unicode.IsSpace holds for; Python's str.strip() takes away more."""
MAX_LINE = 65_535
"""Bytes of a line without its line feed (bufio.Scanner); a longer one makes BuildKit refuse the file."""
MAX_BYTES = 16 * 1024 * 1024
"""The largest ignore file or Dockerfile that BuildKit reads (dockerui: DefaultMaxRecvMsgSize)."""
