"""Settles the tutorials' claims over ten seeds, and tests the comparison of recipes (`make study`)."""
