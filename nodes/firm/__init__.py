"""Private firms: they hold no 個人番号 and no linkage code but their own."""
