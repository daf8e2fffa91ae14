"""The baseline of a pass on a registry that lists everything: one request, and reading the evaluation cache.

`python -m benchmarks.bare_list HOST EVALUATIONS`: the host is asked for all images in one GraphQL request (zot's search
extension), EVALUATIONS is the SQLite file in which lian keeps what it evaluated.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import sys

QUERY = '{ImageList(repo:""){Results{RepoName Tag Digest}}}'


def main() -> None:
    """See the module."""
    host, evaluations = sys.argv[1:]
    connection = http.client.HTTPConnection(host)
    body = json.dumps({"query": QUERY})
    connection.request("POST", "/v2/_zot/ext/search", body, {"content-type": "application/json"})
    listed = json.loads(connection.getresponse().read())["data"]["ImageList"]["Results"]
    database = sqlite3.connect(evaluations)
    values = [json.loads(text) for (text,) in database.execute("SELECT body FROM result")]
    if not listed or not values:
        raise SystemExit("there is nothing")


if __name__ == "__main__":
    main()
