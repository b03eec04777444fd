"""Images out of the registry and into it: OCI image layouts, and what `docker save` writes."""
