"""The commands of the client where it is installed alone: `jinqiao call`, `jinqiao keypair`, or `python -m jinqiao.dataplane.client`."""

import sys
from collections.abc import Sequence

from jinqiao import __version__
from jinqiao.dataplane import call, keypair

COMMANDS = {"call": call.main, "keypair": keypair.main}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code, 2 where there is no such command."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["--version"]:
        sys.stdout.write(f"jinqiao-client {__version__}\n")
        return 0
    command = COMMANDS.get(words[0]) if words else None
    if command is not None:
        return command(words[1:])
    sys.stderr.write(
        "usage: jinqiao COMMAND …\n\n  call     签名调用 signed calls of a query service\n"
        "  keypair  应用的密钥对 the key pair of an application\n"
    )
    return 0 if words[:1] in (["-h"], ["--help"]) else 2


if __name__ == "__main__":
    sys.exit(main())
