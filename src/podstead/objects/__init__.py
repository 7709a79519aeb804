"""What a Kubernetes object is: kinds, schema, validation, selectors, patches, errors. No I/O."""
