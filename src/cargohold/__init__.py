"""A container registry: OCI and Docker images, artifacts and charts."""

__version__ = "0.1.0"
