"""Records to be published, and all that goes into one: built here, checked, and planned in bulk."""
