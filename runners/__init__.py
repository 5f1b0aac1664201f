"""The only place where the stages meet: the command line and the pipeline."""
