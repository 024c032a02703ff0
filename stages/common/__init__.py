"""What all stages share. To DVC it is one dependency of each: after an edit here, all of them run."""
