"""The resident's portal (マイナポータル)."""
