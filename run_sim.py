#!/usr/bin/env python3
"""The one entry point: `python run_sim.py`, or `meshsim` once installed."""

from mesh.cli import main as cli_main


def main() -> None:
    """Run the command line over the nodes and scenarios that ship with the simulator."""
    cli_main(nodes="nodes", scenarios="scenarios")


if __name__ == "__main__":
    main()
