"""A run by the pods of a Kubernetes Job: its manifest, and what the pods run."""
