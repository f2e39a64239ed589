"""Inside the data centre: receiving, storing and finding what the hospitals sent without personal data."""
