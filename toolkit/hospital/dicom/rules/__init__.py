"""What is to be done with an attribute: Table E.1-1 of PS3.15, attribute types of PS3.3, options and recipes."""
