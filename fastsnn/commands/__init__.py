"""What the verbs of the command line do; `fastsnn.cli` parses their arguments."""
