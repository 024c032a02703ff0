"""Reviews a change, for a pull request (`make review`)."""
