"""Shows traces in a browser: a server on 127.0.0.1, its JSON, and the pages in `static/`."""
