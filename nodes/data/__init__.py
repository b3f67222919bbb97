"""What the simulated nation rests on: its law, its papers, its municipalities, and where people come from."""
