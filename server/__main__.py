"""The `clipcore` command; `python -m server` is the same. Without the extra that it needs, it says so."""

import sys


def main() -> None:
    """Run `server.cli`; exit code 1 when what it imports is not installed."""
    try:
        from server.cli import main as command
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("clipcore", "server"):
            raise
        sys.exit("the clipcore command needs the server extra: pip install 'clipcore[server]'")
    command(prog_name="clipcore")


if __name__ == "__main__":
    main()
