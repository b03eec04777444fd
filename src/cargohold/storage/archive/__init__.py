"""Images outside of the registry: OCI image layouts and what `docker save` writes, in directories and tars."""
