"""Public service mesh simulator: signed, sealed and lawful exchanges between agencies, on one machine."""
