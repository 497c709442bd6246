"""The image, built and run with Podman."""
