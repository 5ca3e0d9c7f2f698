"""The operators: one folder a family; import from fastsnn or from fastsnn.ops.<family>."""
