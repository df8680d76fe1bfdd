"""Programs that measure the project, on streams and repos they make up themselves."""
