"""Inside the hospital: objects and visits lose their personal data on the way out, and get it back on the way in."""
