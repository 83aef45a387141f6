"""What a user touches: the command line, settings, and reading what a deployment writes."""
