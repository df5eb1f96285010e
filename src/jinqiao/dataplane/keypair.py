"""`jinqiao keypair`: the key pair of an application, and the proof that one has it.

Exit codes: 0 done, 2 the command or its file is wrong.
"""

import argparse
import base64
import sys
from collections.abc import Sequence
from pathlib import Path

from jinqiao.dataplane.client.keypair import KeyPair
from jinqiao.kernel.crypto.public_keys import ALGORITHMS, ED25519
from jinqiao.kernel.errors import JinqiaoError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with its arguments (without the program's name); the exit code."""
    options = _parser().parse_args(argv)
    try:
        if options.command == "new":
            pair = KeyPair.generate(options.algorithm)
            pair.save(options.file)
            sys.stdout.write(pair.public_pem)
        elif options.command == "public":
            sys.stdout.write(KeyPair.load(options.file).public_pem)
        else:
            signature = KeyPair.load(options.file).sign(options.challenge.encode())
            sys.stdout.write(base64.b64encode(signature).decode("ascii") + "\n")
    except JinqiaoError as problem:
        text = problem.text("zh")
        sys.stderr.write(f"{text.message} [{problem.code}]\n{text.mend}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jinqiao keypair", description="应用的密钥对。The key pair of an application."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("new", help="生成，私钥写进文件，公钥印出 make one; prints the public key")
    new.add_argument("file", type=Path)
    new.add_argument("--algorithm", choices=ALGORITHMS, default=ED25519)
    public = commands.add_parser("public", help="印出公钥 print the public key")
    public.add_argument("file", type=Path)
    prove = commands.add_parser("prove", help="签登记页的挑战串 sign the challenge of the page that registers the key")
    prove.add_argument("file", type=Path)
    prove.add_argument("challenge")
    return parser
