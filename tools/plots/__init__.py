"""DVC's charts: the page that shows them, and PNG files of them (`make preview`)."""
