#!/usr/bin/env python3
"""The one entry point: `python run_sim.py`, or `meshsim` once installed."""

import sys


def main() -> None:
    """Run the command line over the nodes and scenarios that ship with the simulator."""
    sys.path.insert(0, __file__.removesuffix("run_sim.py"))  # Before other packages of the same names.
    try:
        from mesh.cli import main as cli_main

        cli_main(nodes="nodes", scenarios="scenarios")
    except KeyboardInterrupt:  # While Python still reads the program.
        sys.exit(130)


if __name__ == "__main__":
    main()
