"""DVC's charts: the page around them, and as PNG (`make preview`)."""
