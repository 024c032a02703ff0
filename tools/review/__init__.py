"""What a change did, for a pull request (`make review`)."""
