"""Everything that travels as an AsyncAPI 3.0 document, told from the broker's side."""
