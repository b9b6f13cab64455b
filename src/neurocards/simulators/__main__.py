"""`python -m neurocards.simulators`: all simulators in one process, until SIGTERM or Ctrl-C.

When they listen, one JSON line on stdout tells their addresses; everything else goes to stderr.
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from neurocards.simulators import running_simulators


def main() -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(prog="python -m neurocards.simulators", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="default: a free port")
    parser.add_argument("--state", type=Path, help="folder for files; default: a temporary one")
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")
    try:
        asyncio.run(_serve(options.host, options.port, options.state))
    except OSError as error:
        sys.stderr.write(f"The simulators cannot start: {error}\n")
        return 1
    return 0


async def _serve(host: str, port: int, state: Path | None) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    async with running_simulators(host=host, port=port, state=state) as addresses:
        sys.stdout.write(json.dumps(asdict(addresses)) + "\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    sys.exit(main())
