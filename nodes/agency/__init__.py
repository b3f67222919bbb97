"""National bodies and agencies: each file one system of one of them."""
