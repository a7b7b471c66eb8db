"""`python -m deploykit`, and the entry point of the `deploykit` command."""

import sys


def main() -> int:
    """The exit code of the command line in `sys.argv`."""
    from deploykit.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
