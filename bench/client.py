"""Asks for one URL on loopback as fast as it can: `python bench/client.py URL CONNECTIONS SECONDS`.

For machines without `wrk`, and slower than it: it takes a CPU for itself at a few thousand requests per second.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
import urllib.parse


async def ask(host: str, port: int, request: bytes, until: float) -> int:
    """How many good answers came over one connection; anything else ends the program."""
    reader, writer = await asyncio.open_connection(host, port)
    count = 0
    while time.monotonic() < until:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            raise SystemExit(f"not a good answer: {head!r}")
        await reader.readexactly(int(length[1]))
        count += 1
    writer.close()
    return count


async def main(url: str, connections: int, seconds: float) -> None:
    """Prints the rate in the words of `wrk`."""
    parts = urllib.parse.urlsplit(url)
    if parts.hostname not in ("localhost", "127.0.0.1"):
        raise SystemExit("only to loopback")
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    began = time.monotonic()
    tasks = [ask("127.0.0.1", parts.port or 80, request, began + seconds) for _ in range(connections)]
    counts = await asyncio.gather(*tasks)
    print(f"Requests/sec: {sum(counts) / (time.monotonic() - began):.2f}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
