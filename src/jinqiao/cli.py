"""The command `jinqiao`. Starts nothing heavy by itself: each command imports what it needs when it is called.

Commands of the data plane (node, gateway, call, verify) never load Django; commands of the control plane load it on the way.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

Command = Callable[[list[str]], int]


def _control_plane() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jinqiao.config.settings")
    import django

    django.setup()


def up(arguments: list[str]) -> int:
    """start the whole platform on one port (--demo: with the demo city)"""
    from jinqiao import supervisor

    return supervisor.main(arguments)


def web(arguments: list[str]) -> int:
    """the pages and the machine interface (Django)"""
    from jinqiao import serving

    return serving.web(arguments)


def front(arguments: list[str]) -> int:
    """the public port: query gateway, and a proxy to the pages"""
    from jinqiao import serving

    return serving.front(arguments)


def worker(arguments: list[str]) -> int:
    """schedules, reminders, retries"""
    del arguments
    _control_plane()
    from jinqiao.config import worker as process

    return process.main()


def node(arguments: list[str]) -> int:
    """a department's front-end node: `node run HOME`, `node register HOME --platform URL --code CODE --name NAME`"""
    from jinqiao.dataplane.memory import keep_little

    keep_little()
    from jinqiao.dataplane.node import main

    return main.main(arguments)


def gateway(arguments: list[str]) -> int:
    """a query gateway on its own: `gateway run HOME --port N`, `gateway register HOME --platform URL --code CODE --name NAME`"""
    from jinqiao.dataplane.gateway import main

    return main.main(arguments)


def call(arguments: list[str]) -> int:
    """signed calls of a query service: query, batch, verify, list, count, in the sandbox or for real"""
    from jinqiao.dataplane import call as command

    return command.main(arguments)


def keypair(arguments: list[str]) -> int:
    """an application's key pair: `keypair new FILE`, `keypair prove FILE CHALLENGE`"""
    from jinqiao.dataplane import keypair as command

    return command.main(arguments)


def verify(arguments: list[str]) -> int:
    """check evidence of calls offline: `verify PACK`; what a call was answered, a proof of one record: `verify --help`"""
    from jinqiao.dataplane import verify as command

    return command.main(arguments)


def copy(arguments: list[str]) -> int:
    """the exchange engine alone: `copy SOURCE TARGET --table T`, exactly once, resumed after any crash"""
    import gc

    from jinqiao.dataplane.memory import keep_little

    keep_little()
    gc.disable()  # imports make much and drop nothing: looking for garbage meanwhile costs a tenth of them
    from jinqiao.dataplane.copy import command

    gc.freeze()
    gc.enable()
    code = command.main(arguments)
    # All is durable and closed. What an interpreter does at its end, module by module, only frees memory, and takes 0.1 s.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _managed(name: str) -> Command:
    def command(arguments: list[str]) -> int:
        _control_plane()
        from django.core.management import execute_from_command_line

        execute_from_command_line(["jinqiao", name, *arguments])
        return 0

    return command


def manage(arguments: list[str]) -> int:
    """any command of Django: `manage migrate`, `manage shell`, …"""
    _control_plane()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["jinqiao", *arguments])
    return 0


def audit(arguments: list[str]) -> int:
    """`audit verify`: is the trail whole? names the first broken event. `audit seal --anew`: after an explained loss"""
    if arguments[:1] == ["verify"]:
        return _managed("audit_verify")(arguments[1:])
    if arguments == ["seal", "--anew"]:
        return _managed("audit_seal")([])
    print("usage: jinqiao audit verify | jinqiao audit seal --anew", file=sys.stderr)
    return 2


def evidence(arguments: list[str]) -> int:
    """`evidence export GATEWAY --out PACK`: what the centre has of a gateway's calls, as a pack for `verify`"""
    if arguments[:1] == ["export"]:
        return _managed("evidence_export")(arguments[1:])
    print("usage: jinqiao evidence export GATEWAY --out PACK", file=sys.stderr)
    return 2


def keys(arguments: list[str]) -> int:
    """`keys rotate`: new master keys for the platform and for each node and gateway of this home"""
    if arguments[:1] != ["rotate"]:
        print("usage: jinqiao keys rotate [--home DIR]", file=sys.stderr)
        return 2
    from jinqiao import duty

    return duty.rotate_keys(_home(arguments[1:]))


def backup(arguments: list[str]) -> int:
    """`backup FILE`: everything of this home in one encrypted file"""
    from jinqiao import duty

    return duty.backup_main(arguments)


def restore(arguments: list[str]) -> int:
    """`restore FILE`: into an empty home"""
    from jinqiao import duty

    return duty.restore_main(arguments)


def doctor(arguments: list[str]) -> int:
    """what is mis-set on this machine, and how to mend it"""
    return _managed("doctor")(arguments)


def demo(arguments: list[str]) -> int:
    """`demo build` makes the demo city; `demo verify` does the main job end to end without a person"""
    if arguments[:1] == ["verify"]:
        from jinqiao.demo import verify

        return verify.main(arguments[1:])
    if arguments[:1] == ["build"]:
        return _managed("demo_build")(arguments[1:])
    print("usage: jinqiao demo build | jinqiao demo verify", file=sys.stderr)
    return 2


def _home(arguments: list[str]) -> Path:
    if arguments[:1] == ["--home"] and len(arguments) > 1:
        return Path(arguments[1]).resolve()
    return Path(os.environ.get("JINQIAO_HOME", "var")).resolve()


COMMANDS: dict[str, Command] = {
    "up": up,
    "web": web,
    "front": front,
    "worker": worker,
    "node": node,
    "gateway": gateway,
    "call": call,
    "keypair": keypair,
    "verify": verify,
    "copy": copy,
    "audit": audit,
    "evidence": evidence,
    "keys": keys,
    "backup": backup,
    "restore": restore,
    "doctor": doctor,
    "demo": demo,
    "manage": manage,
}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--version"]:
        from jinqiao import __version__

        print(f"jinqiao {__version__}")
        return 0
    command = COMMANDS.get(arguments[0]) if arguments else None
    if command is None:
        print("usage: jinqiao COMMAND …\n", file=sys.stderr)
        for name, function in COMMANDS.items():
            print(f"  {name:<9} {function.__doc__}", file=sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    return command(arguments[1:])


if __name__ == "__main__":
    sys.exit(main())
