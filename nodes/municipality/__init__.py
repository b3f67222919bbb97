"""A municipality: one file per standard business system, and how they are put together."""
