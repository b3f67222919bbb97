"""How lines travel between parties; each carrier in a module of its own."""
